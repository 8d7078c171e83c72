"""Ticks that were delivered again after they had run, and why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import new_id, utcnow
from homeostat.store.base import Base, UtcDateTime


class RepeatKind(StrEnum):
    """Why a tick that had run already was delivered again."""

    #: The broker handed the same message out again; late acknowledgement makes this normal.
    REDELIVERED = "redelivered"
    #: Another message asked for the same tick: two beats, or one that fired twice.
    PUBLISHED_TWICE = "published_twice"
    #: The health monitor sent the tick again because it had not been seen to run.
    CAUGHT_UP = "caught_up"


class TickRepeat(Base):
    """One delivery of a tick that was refused because the tick had run already."""

    __tablename__ = "tick_repeats"
    __table_args__ = (Index("ix_tick_repeats_due_at", "due_at"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    entry: Mapped[str] = mapped_column(String(128))
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    kind: Mapped[str] = mapped_column(String(24))
    message_id: Mapped[str] = mapped_column(String(64), default="")
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


def note_repeat(
    session: Session, entry: str, due_at: datetime, kind: RepeatKind, message_id: str = ""
) -> None:
    """Record one refused repeat of a tick."""
    session.add(TickRepeat(entry=entry, due_at=due_at, kind=kind, message_id=message_id))


def repeats_between(session: Session, start: datetime, end: datetime) -> Sequence[TickRepeat]:
    """Return the refused repeats of the ticks that were due in [start, end)."""
    statement = select(TickRepeat).where(TickRepeat.due_at >= start, TickRepeat.due_at < end)
    return session.scalars(statement).all()
