"""What the chain costs: appends beside plain inserts of the same row, and the speed of verifying.

`python -m benchmarks.immutable_log --json` → append ratio to a plain insert, verified rows/s.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable

from sqlalchemy import Column, MetaData, Table, insert, text, update
from sqlalchemy.orm import Session

BATCH = 10_000
COLUMNS = (
    "sequence", "at", "actor", "action", "resource", "decision", "subsystem", "payload", "result",
    "previous_hash", "row_hash",
)  # fmt: skip


def plain_table() -> Table:
    """Return a table with the audit log's columns, keys and indexes, but no chain."""
    from homeostat.store.audit import AuditRow

    columns = [
        Column(
            column.name,
            column.type,
            primary_key=column.primary_key,
            autoincrement=False,
            index=column.index,
            unique=column.unique,
        )
        for column in AuditRow.__table__.columns
    ]
    return Table("plain_rows", MetaData(), *columns)


def per_row(rows: int, write: Callable[[Session, int], object]) -> float:
    """Return the seconds per row with one transaction a row."""
    from homeostat.store import database

    start = time.perf_counter()
    for number in range(rows):
        with database.transaction() as session:
            write(session, number)
    return (time.perf_counter() - start) / rows


def appends(rows: int, repeats: int) -> dict[str, float]:
    """Time plain inserts and appends in turn, so that both meet the same machine."""
    from homeostat.clock import utcnow
    from homeostat.store import audit, database

    table = plain_table()
    table.create(database.engine())
    count = iter(range(1, 10**9))

    statement = insert(table)

    def plain(session: Session, number: int) -> None:
        row = {
            "sequence": next(count), "at": utcnow(), "actor": "bench", "action": "append",
            "resource": "r", "decision": "", "subsystem": "", "payload": json.dumps({"n": number}),
            "result": "", "previous_hash": "0" * 64, "row_hash": os.urandom(32).hex(),
        }  # fmt: skip
        session.connection().execute(statement, row)

    def append(session: Session, number: int) -> None:
        audit.append(session, actor="bench", action="append", resource="r", payload={"n": number})

    plain_s, append_s = [], []
    for _ in range(repeats):
        plain_s.append(per_row(rows, plain))
        append_s.append(per_row(rows, append))
    return {
        "plain_insert_us": statistics.median(plain_s) * 1e6,
        "append_us": statistics.median(append_s) * 1e6,
        "append_ratio": statistics.median(
            mine / theirs for mine, theirs in zip(append_s, plain_s, strict=True)
        ),
    }


def fill(rows: int) -> None:
    """Write rows up to that number as appends would have, many to a statement.

    The verification that follows is what says that they are what `audit.append` writes.
    """
    from homeostat.clock import utcnow
    from homeostat.store import database
    from homeostat.store.audit import AuditHead, AuditRow
    from homeostat.store.chain import RawRow, raw_hash

    with database.reading() as session:
        head = session.get_one(AuditHead, 1)
        sequence, last = head.sequence, head.row_hash
    while sequence < rows:
        batch, at = [], utcnow()
        for number in range(sequence + 1, min(sequence + BATCH, rows) + 1):
            content = ("b", "fill", "r", "", "", f'{{"n":{number}}}', "", last)
            last = raw_hash(RawRow(number, at.isoformat(), *content, ""))
            batch.append((number, at, *content, last))
        with database.transaction() as session:
            session.execute(
                insert(AuditRow.__table__),  # type: ignore[arg-type]  # declared as FromClause
                [dict(zip(COLUMNS, row, strict=True)) for row in batch],
            )
            session.execute(update(AuditHead).values(sequence=batch[-1][0], row_hash=last))
        sequence = batch[-1][0]


def verifying(rows: int) -> dict[str, float]:
    """Fill the log to `rows` rows and verify all of it, then find a planted edit at its end."""
    from homeostat import registry
    from homeostat.store import database

    log = registry.find("kernels.immutable_log")
    begin = time.perf_counter()
    fill(rows)
    filling = time.perf_counter() - begin
    begin = time.perf_counter()
    with database.reading() as session:
        report = log.verify(session)  # type: ignore[attr-defined]  # as above
    seconds = time.perf_counter() - begin
    if not report.intact or report.rows != rows:
        raise SystemExit(f"the log of {rows} rows did not verify: {report}")
    with database.transaction() as session:
        session.execute(
            text("UPDATE audit_log SET actor = 'x' WHERE sequence = :row"), {"row": rows - 1}
        )
    with database.reading() as session:
        broken = log.verify(session)  # type: ignore[attr-defined]  # as above
    return {
        "verified_rows": report.rows,
        "fill_seconds": filling,
        "verify_seconds": seconds,
        "verify_rows_per_s": report.rows / seconds,
        "planted_edit_found_at_row": broken.row or 0,
        "planted_edit_was_at_row": rows - 1,
    }


def main() -> None:
    """Run in a state folder of its own and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows to verify")
    parser.add_argument("--appends", type=int, default=1_000, help="rows per timing of appends")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOMEOSTAT_STATE_DIR"] = folder
        from homeostat.store import database

        database.migrate()
        figures = appends(options.appends, options.repeats)
        figures |= verifying(options.rows)
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:26} {value:,.2f}")


if __name__ == "__main__":
    main()
