"""Verifying the audit chain: raw rows read as they lie in the table, hashed, compared."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

_BATCH = 10_000
_COLUMNS = (
    "sequence, at, actor, action, resource, decision, subsystem, payload, result, "
    "previous_hash, row_hash"
)
_RANGE = text(
    f"SELECT {_COLUMNS} FROM audit_log WHERE sequence > :after ORDER BY sequence LIMIT :size"  # noqa: S608  # the columns are the constant above
)
#: How SQLAlchemy writes a moment into SQLite; anything else was not written by it.
_SQLITE_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\Z", re.ASCII)


class RawRow(NamedTuple):
    """One row as the table gives it, with `at` in the form that was hashed."""

    sequence: int
    at: str
    actor: str
    action: str
    resource: str
    decision: str
    subsystem: str
    payload: str
    result: str
    previous_hash: str
    row_hash: str


@dataclass(frozen=True)
class ChainReport:
    """What the verification saw; `row` is the first that is not as it was written."""

    rows: int
    intact: bool
    last_sequence: int
    last_hash: str
    row: int | None = None
    reason: str = ""

    def broken(self, row: int, reason: str) -> ChainReport:
        """Return this report with a break at that row."""
        return replace(self, intact=False, row=row, reason=reason)


def raw_rows(session: Session, after: int) -> Iterator[RawRow]:
    """Yield the rows after that one in order, past every type of the model, read in batches.

    A row that the database cannot even read (bytes that are no text) is yielded as a row whose
    hash cannot match.
    """
    size = _BATCH
    while True:
        try:
            rows = session.execute(_RANGE, {"after": after, "size": size}).all()
        except (DBAPIError, UnicodeDecodeError, ValueError):
            if size == 1:
                yield _unreadable(after + 1)
                return
            size = 1  # go on row by row up to the one that cannot be read
            continue
        for row in rows:
            yield RawRow(row[0], _moment(row[1]), *row[2:])
        if len(rows) < size:
            return
        after = rows[-1][0]


def _unreadable(sequence: int) -> RawRow:
    return RawRow(sequence, "", "", "", "", "", "", "", "", "", "(cannot be read)")


def _moment(value: Any) -> str:  # text on SQLite, a datetime on PostgreSQL
    """Return the moment as `datetime.isoformat` gives it in UTC, which is what was hashed."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if not isinstance(value, str) or not _SQLITE_MOMENT.match(value):
        return f"(no moment: {value!r})"
    return f"{value[:10]}T{value[11:].removesuffix('.000000')}+00:00"


def raw_hash(row: RawRow) -> str:
    """Return the hash of a raw row; the same text as `homeostat.store.audit.hash_of` hashes."""
    content = ",".join([str(row.sequence), *map(quoted, row[1:10])])
    return hashlib.sha256(f"[{content}]".encode()).hexdigest()


def verify_chain(rows: Iterable[RawRow], *, after: tuple[int, str]) -> ChainReport:
    """Hold each row to its hash and to the row before; `after` is (sequence, hash) to start from.

    Returns the report of the first break, or of an intact chain.
    """
    last_sequence, last_hash = after
    count = 0
    for row in rows:
        fault = _fault(row, last_sequence, last_hash)
        if fault:
            at = min(row.sequence, last_sequence + 1)
            return ChainReport(
                count, False, last_sequence, last_hash, at, fault
            )  # the report's own fields
        last_sequence, last_hash = row.sequence, row.row_hash
        count += 1
    return ChainReport(count, True, last_sequence, last_hash)  # as above


def _fault(row: RawRow, last_sequence: int, last_hash: str) -> str:
    if row.sequence != last_sequence + 1:
        return "the row is missing"
    if row.previous_hash != last_hash:
        return "the row does not carry the hash of the row before"
    try:
        matches = raw_hash(row) == row.row_hash
    except TypeError:  # a column holds bytes or a number where text was written
        matches = False
    return "" if matches else "the row was changed: its hash does not match"
