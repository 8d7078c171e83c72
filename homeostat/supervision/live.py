"""What the audit log and the incidents' timelines gain, as it happens.

It is read from the database, which is the truth, so a broker that is away hides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.store.audit import AuditRow
from homeostat.store.incidents import TimelineEntry
from homeostat.store.models import async_session

#: A browser that reconnects after less than this misses nothing worth a page of its own.
_MOST_A_LOOK = 100


@dataclass(frozen=True)
class Position:
    """How far somebody has seen: the last audit row, and the last step of an incident."""

    sequence: int
    step: str


@dataclass(frozen=True)
class News:
    """What came after a position, oldest first, and the position behind it."""

    rows: Sequence[AuditRow]
    steps: Sequence[TimelineEntry]
    position: Position


async def newest() -> Position:
    """Return the position behind everything that is there now."""
    async with async_session() as session:
        return await session.ask(_newest)


async def since(position: Position) -> News:
    """Return what came after `position`, at most a hundred of each kind."""
    async with async_session() as session:
        return await session.ask(lambda reading: _since(reading, position))


def _newest(session: Session) -> Position:
    sequence = session.scalar(select(func.max(AuditRow.sequence))) or 0
    step = session.scalar(select(func.max(TimelineEntry.id))) or ""
    return Position(int(sequence), str(step))


def _since(session: Session, position: Position) -> News:
    rows = session.scalars(
        select(AuditRow)
        .where(AuditRow.sequence > position.sequence)
        .order_by(AuditRow.sequence)
        .limit(_MOST_A_LOOK)
    ).all()
    # Ids are UUIDv7, so their order is that of their making.
    steps = session.scalars(
        select(TimelineEntry)
        .where(TimelineEntry.id > position.step)
        .order_by(TimelineEntry.id)
        .limit(_MOST_A_LOOK)
    ).all()
    behind = Position(
        rows[-1].sequence if rows else position.sequence, steps[-1].id if steps else position.step
    )
    return News(rows, steps, behind)
