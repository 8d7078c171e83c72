"""What an incident's evidence costs the task that failed: milliseconds beside its work.

`python -m benchmarks.bundle --rounds 300 --json`. Three costs, wall and CPU, in milliseconds:
`capture` (reading the live failure and making its redacted bundle in memory), `open` (the whole
report of a new failure: capture, the store's part, one transaction) and `count` (the report of a
failure that is known). `usual` is a failure as they mostly are, `chained` one with 40 exceptions of
15 frames each, `wide` one with 40 exceptions and large local variables in each frame, whose bundle
reaches the limits. Python's own full collections of garbage fall into the figures where they come.
The database is a scratch SQLite file, or the one of HOMEOSTAT_DATABASE_URL.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from homeostat.incidents import bundle, loglines, surroundings
from homeostat.incidents.failure import Failure
from homeostat.incidents.recognition import report
from homeostat.store import database

#: Log lines in the ring, as behind any failure of a process that has worked for a while.
LINES = 100
DEPTH = 40
#: Calls between two exceptions of a chain.
CALLS = 15


def usual(number: int) -> None:
    """Fail as tasks mostly do: a few local variables, a message with a value."""
    rows = [{"id": index, "name": f"row {index}", "at": time.time()} for index in range(200)]
    config = {"retries": 3, "url": "https://api.lan/x", "password": "planted-in-a-local"}
    raise LookupError(f"order {number} of {len(rows)} is not open after {config['retries']} tries")


def wide(number: int, level: int = DEPTH) -> None:
    """Fail with a chain of exceptions and large variables in each of their frames."""
    texts = {f"name_{index}": f"{number} " + "v" * 1_500 for index in range(60)}
    if level == 0:
        raise ValueError(f"order {number} " + "x" * 100_000)
    try:
        wide(number, level - 1)
    except ValueError as error:
        raise ValueError(f"level {level} " + texts["name_1"]) from error


def chained(number: int, level: int = DEPTH, calls: int = CALLS) -> None:
    """Fail with a chain of exceptions, each raised deep below the one that it led to."""
    if calls:
        chained(number, level, calls - 1)
        return
    if level == 0:
        raise ValueError(f"order {number}")
    try:
        chained(number, level - 1)
    except ValueError as error:
        raise ValueError(f"level {level} of {number}") from error


def raised_by(step: Callable[[int], None], number: int) -> Exception:
    """Fail as a task does; return what was raised."""
    try:
        step(number)
    except Exception as error:  # noqa: BLE001  # whatever is raised is what is reported
        return error
    raise AssertionError("the step did not fail")


def read(error: Exception, component: str) -> Failure:
    """Read the failure, as a worker does."""
    return Failure.from_exception(error, source="task", component=component, task=component)


class Times:
    """Wall and CPU times of one kind of step, in milliseconds."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def take(self, step: Callable[..., Any], *arguments: object) -> Any:
        """Run and time one step."""
        wall, cpu = time.perf_counter(), time.thread_time()
        result = step(*arguments)
        self.wall.append((time.perf_counter() - wall) * 1_000)
        self.cpu.append((time.thread_time() - cpu) * 1_000)
        return result

    def figures(self, name: str) -> dict[str, float]:
        """Return the median and the 99th percentile."""
        return {
            f"{name}_{kind}_{share}": round(sorted(times)[int(len(times) * place)], 2)
            for kind, times in (("ms", self.wall), ("cpu_ms", self.cpu))
            for share, place in (("p50", 0.5), ("p99", 0.99))
        }


def captured(error: Exception) -> int:
    """Read the failure and make its bundle; return the bundle's size in bytes."""
    return bundle.size_of(bundle.capture(read(error, "bench")))


def reported(failure: Failure) -> None:
    """Report the failure in a transaction of its own."""
    with database.transaction() as session:
        report(session, failure)


def measure(step: Callable[[int], None], rounds: int) -> dict[str, float]:
    """Time all three costs on the settings' database."""
    capture, opened, counted = Times(), Times(), Times()
    largest = 0
    for number in range(rounds):
        error = raised_by(step, number)
        largest = max(largest, capture.take(captured, error))
        live = read(error, f"bench.{step.__name__}")
        # The failures of one function would be one incident; each has a type of its own.
        cause = replace(live.cause, type=f"Kind{number}")
        failure = replace(live, chain=(cause, *live.chain[1:]))
        opened.take(reported, failure)
        counted.take(reported, failure)
    return {
        **capture.figures("capture"),
        **opened.figures("open"),
        **counted.figures("count"),
        "largest_bytes": largest,
    }


def run(rounds: int) -> dict[str, Any]:
    """Prepare the process as a worker's is, and measure each kind of failure."""
    database.migrate()
    surroundings.warm()
    loglines.install()
    for number in range(LINES):
        logging.getLogger("shop").warning("order %d took %d ms on %s", number, number * 3, "a-17")
    return {
        "database": database.engine().dialect.name,
        "rounds": rounds,
        **{step.__name__: measure(step, rounds) for step in (usual, chained, wide)},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="What an incident's evidence costs.")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    # Only the ring is to take the lines in; the terminal would be measured with them.
    logging.lastResort = None
    with tempfile.TemporaryDirectory(prefix="homeostat-bundle-") as folder:
        os.environ["HOMEOSTAT_STATE_DIR"] = folder
        result = run(options.rounds)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for kind in ("usual", "chained", "wide"):
        for name, value in result[kind].items():
            print(f"{kind:8} {name:20} {value}")


if __name__ == "__main__":
    main()
