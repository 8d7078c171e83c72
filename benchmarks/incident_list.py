"""How long the list of incidents takes when a million occurrences are behind it.

`python -m benchmarks.incident_list --occurrences 1000000 --json`: a scratch SQLite file, or the
database of HOMEOSTAT_DATABASE_URL (whose incidents must be empty).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import func, insert, select

INCIDENTS = 2_000
#: One slice a minute, each of this many occurrences, as a storm leaves them.
PER_SLICE = 10
ROUNDS = 50


def fill(occurrences: int) -> None:
    """Write the incidents and their slices; nine in ten are resolved."""
    from homeostat.clock import new_id, utcnow
    from homeostat.incidents.failure import Failure
    from homeostat.incidents.recognition import report
    from homeostat.store import database
    from homeostat.store.incidents import Incident, OccurrenceCount

    now = utcnow()
    each = occurrences // INCIDENTS
    with database.transaction() as session:
        failure = Failure.without_frames("LostError", "gone", "worker", "bench", "bench.task")
        first = report(session, failure)
        session.flush()
        pattern = {column.key: getattr(first, column.key) for column in Incident.__table__.columns}
        rows = [
            pattern
            | {
                "id": new_id(),
                "group_key": f"key-{number}",
                "occurrences": each,
                "last_seen_at": now - timedelta(seconds=number),
                "resolved_at": now if number % 10 else None,
            }
            for number in range(INCIDENTS)
        ]
        session.execute(insert(Incident), rows)
        for row in rows:
            slices = [
                {
                    "incident_id": row["id"],
                    "component": "bench",
                    "width_s": 60,
                    "count": PER_SLICE,
                    "starts_at": now - timedelta(minutes=minute),
                    "first_at": now,
                    "last_at": now,
                }
                for minute in range(max(1, each // PER_SLICE))
            ]
            session.execute(insert(OccurrenceCount), slices)


def measure(occurrences: int) -> dict[str, Any]:
    """Fill the settings' database and time the list of open, and of all, incidents."""
    from homeostat.incidents import views
    from homeostat.store import database
    from homeostat.store.incidents import Incident, OccurrenceCount

    database.migrate()
    with database.reading() as session:
        if session.scalar(select(func.count(Incident.id))):
            sys.exit("The database holds incidents already; name an empty one.")
    fill(occurrences)
    times: dict[str, list[float]] = {"open": [], "all": []}
    with database.reading() as session:
        counted = int(session.scalar(select(func.sum(OccurrenceCount.count))) or 0)
        for _ in range(ROUNDS):
            for name, resolved in (("open", False), ("all", None)):
                began = time.perf_counter()
                views.incidents(session, resolved=resolved, limit=100)
                times[name].append((time.perf_counter() - began) * 1_000)
        dialect = database.engine().dialect.name
    result: dict[str, Any] = {"database": dialect, "incidents": INCIDENTS, "occurrences": counted}
    for name, found in times.items():
        ordered = sorted(found)
        result[f"{name}_ms_p50"] = round(ordered[len(ordered) // 2], 2)
        result[f"{name}_ms_p99"] = round(ordered[int(len(ordered) * 0.99)], 2)
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="The incident list with much behind it.")
    parser.add_argument("--occurrences", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="homeostat-list-") as folder:
        os.environ["HOMEOSTAT_STATE_DIR"] = folder
        result = measure(options.occurrences)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in result.items():
            print(f"{name:14} {value}")


if __name__ == "__main__":
    main()
