"""Tunings: intervals that the system changed in itself, each scored before and after."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import new_id, utcnow
from homeostat.store.base import Base, UtcDateTime


class TuningState(StrEnum):
    """A trial is judged once: kept or rolled back."""

    TRIAL = "trial"
    KEPT = "kept"
    ROLLED_BACK = "rolled_back"


class Tuning(Base):
    """One change of one entry's interval, in seconds; a lower score is better."""

    __tablename__ = "tunings"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(190), index=True)
    before: Mapped[float]
    after: Mapped[float]
    score_before: Mapped[float]
    score_after: Mapped[float | None]
    state: Mapped[str] = mapped_column(String(16), index=True)
    why: Mapped[str] = mapped_column(default="")
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    judge_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


def on_trial(session: Session) -> Tuning | None:
    """Return the change that is on trial; there is never more than one."""
    return session.scalar(select(Tuning).where(Tuning.state == TuningState.TRIAL))


def history(session: Session, name: str) -> Sequence[Tuning]:
    """Return the changes of one entry, newest first."""
    statement = select(Tuning).where(Tuning.name == name).order_by(Tuning.started_at.desc())
    return session.scalars(statement).all()
