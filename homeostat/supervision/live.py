"""What the audit log, the incidents' timelines and the bus gain, as it happens.

Acts and steps are read from the database, which is the truth, so a broker that is away hides none
of them; what the kernels tell each other is heard on the bus.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar, cast

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.errors import BrokerUnavailableError
from homeostat.store.audit import AuditRow
from homeostat.store.incidents import TimelineEntry
from homeostat.store.models import async_session
from homeostat.supervision.ports import Bus, Event

T = TypeVar("T")

#: So many of each kind are read at a time; what is left comes with the next look.
_MOST_A_LOOK = 100
#: How far back the bus is looked at again.
_AGAIN = timedelta(seconds=10)


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
    return await asked(_newest)


async def since(position: Position) -> News:
    """Return what came after `position`, at most a hundred of each kind."""
    return await asked(lambda reading: _since(reading, position))


async def asked(question: Callable[[Session], T]) -> T:
    """Ask the store; the session lives to its end although the reader goes away meanwhile.

    A page that is closed cancels its stream in the middle of a query, and a session must not be
    closed while its thread still connects.
    """
    return await asyncio.shield(_in_a_session(question))


async def _in_a_session(question: Callable[[Session], T]) -> T:
    async with async_session() as session:
        return await session.ask(question)


class Ear:
    """Hears what is told on the bus from now on, each event once."""

    def __init__(self) -> None:
        """Begin now."""
        self._since = utcnow()
        self._heard: dict[str, datetime] = {}

    async def hear(self) -> list[Event]:
        """Return what was told since the last look; nothing while the bus is away."""
        bus = cast("Bus", registry.find("kernels.message_bus"))
        try:
            found = await asyncio.to_thread(bus.happened, self._since)
        except BrokerUnavailableError:
            return []
        news = [event for event in found if event.id not in self._heard]
        self._heard |= {event.id: event.at for event in news}
        # Two clocks and a late look: the last seconds are looked at again, and known by their ids.
        self._since = max(self._since, utcnow() - _AGAIN)
        self._heard = {one: at for one, at in self._heard.items() if at >= self._since - _AGAIN}
        return news


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
