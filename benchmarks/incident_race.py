"""Many processes raise the same failure at once: one incident, every occurrence, one analysis.

`python -m benchmarks.incident_race --processes 8 --failures 1000 --json`: the failures are shared
out among the processes. `--kinds 10` raises ten different failures instead of one. The database
is a scratch SQLite file, or the one of HOMEOSTAT_DATABASE_URL (whose incidents must be empty).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from typing import Any

from sqlalchemy import func, select


def raise_failure(kind: int, number: int) -> None:
    """Raise one failure; the kinds are of different types, the number is only a value."""
    types = (
        ValueError, KeyError, TypeError, RuntimeError, LookupError, ArithmeticError, OSError,
        AttributeError, NameError, NotImplementedError, BufferError, EOFError,
    )  # fmt: skip
    raise types[kind % len(types)](f"order {number} of {os.getpid()} failed")


def work(barrier: Barrier, failures: int, kinds: int, first: int) -> None:
    """Raise and report `failures` failures, each in a transaction of its own."""
    from homeostat.incidents.failure import Failure
    from homeostat.incidents.recognition import report
    from homeostat.store import database

    barrier.wait()
    for number in range(first, first + failures):
        try:
            raise_failure(number % kinds, number)
        except Exception as error:  # noqa: BLE001  # whatever is raised is what is reported
            failure = Failure.from_exception(error, source="task", component="race", task="race")
        with database.transaction() as session:
            report(session, failure)


def race(processes: int, failures: int, kinds: int = 1) -> dict[str, Any]:
    """Run the race on the settings' database and count what it left there."""
    from homeostat.incidents.recognition import ANALYSE
    from homeostat.store import database
    from homeostat.store.incidents import Incident, OccurrenceCount
    from homeostat.store.jobs import Job

    database.migrate()
    with database.reading() as session:
        if session.scalar(select(func.count(Incident.id))):
            sys.exit(
                "The database holds incidents already; give HOMEOSTAT_DATABASE_URL an empty one."
            )
    # A forked child must not share its parent's connections, so they are closed first.
    database.engine().dispose()
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(processes)
    shares = [failures // processes + (n < failures % processes) for n in range(processes)]
    workers = [
        context.Process(target=work, args=(barrier, share, kinds, sum(shares[:number])))
        for number, share in enumerate(shares)
    ]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - began
    with database.reading() as session:
        return {
            "processes": processes,
            "failures": failures,
            "incidents": session.scalar(select(func.count(Incident.id))) or 0,
            "occurrences": session.scalar(select(func.sum(Incident.occurrences))) or 0,
            "counted": int(session.scalar(select(func.sum(OccurrenceCount.count))) or 0),
            "analyses": session.scalar(select(func.count(Job.id)).where(Job.task == ANALYSE)) or 0,
            "failed_processes": sum(worker.exitcode != 0 for worker in workers),
            "seconds": round(seconds, 2),
            "reports_per_s": round(failures / seconds),
            "database": database.engine().dialect.name,
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the counts; exit code 1 where they are not as they must be."""
    parser = argparse.ArgumentParser(description="One failure, one incident, under a race.")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--failures", type=int, default=1_000, help="in all, by all processes")
    parser.add_argument("--kinds", type=int, default=1, choices=range(1, 13), metavar="1-12")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="homeostat-race-") as folder:
        os.environ["HOMEOSTAT_STATE_DIR"] = folder
        result = race(options.processes, options.failures, options.kinds)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in result.items():
            print(f"{name:18} {value}")
    exact = (
        result["incidents"] == result["analyses"] == options.kinds
        and result["occurrences"] == result["counted"] == options.failures
    )
    sys.exit(0 if exact else 1)


if __name__ == "__main__":
    main()
