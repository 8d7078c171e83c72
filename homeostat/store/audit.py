"""The audit log's rows: append-only, each hash-chained to the one before.

Appends from many processes never fork the chain: the row's sequence number is one more than the
last one's and unique, and the append holds a lock on the head row (`audit_head`) until commit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, cast

from pydantic import JsonValue
from sqlalchemy import String, Table, bindparam, insert, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import utcnow
from homeostat.store.base import Base, UtcDateTime

#: The hash before the first row.
GENESIS = "0" * 64


class AuditRow(Base):
    """One audited act."""

    __tablename__ = "audit_log"

    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(128))
    action: Mapped[str] = mapped_column(String(128), index=True)
    resource: Mapped[str] = mapped_column(String(255), index=True)
    decision: Mapped[str] = mapped_column(String(64), default="")
    subsystem: Mapped[str] = mapped_column(String(128), default="")
    #: Canonical JSON text, because a database may reorder or reformat a JSON column's content.
    payload: Mapped[str] = mapped_column(default="{}")
    result: Mapped[str] = mapped_column(String(255), default="")
    previous_hash: Mapped[str] = mapped_column(String(64))
    row_hash: Mapped[str] = mapped_column(String(64), unique=True)


class AuditHead(Base):
    """The chain's last sequence number and hash: one row, locked by every append."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sequence: Mapped[int]
    row_hash: Mapped[str] = mapped_column(String(64))


_HEAD = cast("Table", AuditHead.__table__)
_LOCKED_HEAD = select(_HEAD.c.sequence, _HEAD.c.row_hash).where(_HEAD.c.id == 1).with_for_update()
_INSERT = insert(cast("Table", AuditRow.__table__))
_MOVE_HEAD = (
    update(_HEAD)
    .where(_HEAD.c.id == 1)
    .values(sequence=bindparam("new_sequence"), row_hash=bindparam("new_hash"))
)


def hash_of(row: AuditRow) -> str:
    """Return the SHA-256 over every field of the row and the hash of the row before."""
    fields = [
        row.sequence,
        row.at.isoformat(),
        row.actor,
        row.action,
        row.resource,
        row.decision,
        row.subsystem,
        row.payload,
        row.result,
        row.previous_hash,
    ]
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def append(
    session: Session,
    *,
    actor: str,
    action: str,
    resource: str,
    decision: str = "",
    subsystem: str = "",
    payload: dict[str, JsonValue] | None = None,
    result: str = "",
) -> AuditRow:
    """Append one row to the chain in the caller's transaction and return a copy of it.

    Raises LookupError where the chain has no head row.
    """
    # Plain statements on the connection: an ORM flush would triple the cost of an append.
    connection = session.connection()
    head = connection.execute(_LOCKED_HEAD).one_or_none()
    if head is None:
        raise LookupError("The audit log has no head row; run the migrations.")
    values: dict[str, Any] = {
        "sequence": head.sequence + 1,
        "at": utcnow(),
        "actor": actor,
        "action": action,
        "resource": resource,
        "decision": decision,
        "subsystem": subsystem,
        "payload": json.dumps(payload or {}, sort_keys=True, separators=(",", ":")),
        "result": result,
        "previous_hash": head.row_hash,
    }
    row = AuditRow(**values)
    row.row_hash = hash_of(row)
    connection.execute(_INSERT, {**values, "row_hash": row.row_hash})
    connection.execute(_MOVE_HEAD, {"new_sequence": row.sequence, "new_hash": row.row_hash})
    return row


def rows_after(session: Session, sequence: int, *, batch: int = 5_000) -> Iterator[AuditRow]:
    """Yield the rows after `sequence` in order, read in batches."""
    statement = select(AuditRow).where(AuditRow.sequence > sequence).order_by(AuditRow.sequence)
    yield from session.scalars(statement.execution_options(yield_per=batch))
