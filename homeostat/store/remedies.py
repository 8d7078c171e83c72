"""Remedy runs: which playbook was carried out for what, and whether its effect was seen.

The row is written before anything is done, so that a remedy whose worker died in the middle
still counts against the budget. `verified` is true only where every post-condition was observed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, String, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import new_id, utcnow
from homeostat.store.base import JSON, Base, UtcDateTime


class RunState(StrEnum):
    """Where a remedy run stands; VERIFIED, UNVERIFIED and REFUSED are ends.

    WAITING is for a person's approval, whose subject is the run's id.
    """

    WAITING = "waiting"
    REQUESTED = "requested"
    ACTING = "acting"
    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    REFUSED = "refused"


class RemedyRun(Base):
    """One carrying out of one playbook."""

    __tablename__ = "remedy_runs"
    __table_args__ = (
        Index("ix_remedy_runs_component_started", "component", "started_at"),
        Index("ix_remedy_runs_state", "state"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    playbook: Mapped[str] = mapped_column(String(64))
    component: Mapped[str] = mapped_column(String(128))
    #: What called for it: an incident's id, or who asked.
    cause: Mapped[str] = mapped_column(String(128), index=True)
    target: Mapped[str] = mapped_column(String(128), default="")
    state: Mapped[str] = mapped_column(String(16), default=RunState.ACTING)
    #: Whether anything was done: a process that was up again already needs nothing.
    acted: Mapped[bool] = mapped_column(default=True)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reason: Mapped[str] = mapped_column(default="")
    evidence: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


#: The states in which something was really done, or may have been.
ACTED = (RunState.ACTING, RunState.VERIFIED, RunState.UNVERIFIED)


def acted_since(session: Session, since: datetime, component: str | None = None) -> int:
    """Return how many remedies were begun since then, over all or for one component."""
    statement = (
        select(func.count())
        .select_from(RemedyRun)
        .where(RemedyRun.started_at >= since, RemedyRun.state.in_(ACTED), RemedyRun.acted.is_(True))
    )
    if component is not None:
        statement = statement.where(RemedyRun.component == component)
    return int(session.scalar(statement) or 0)


def tried_for(session: Session, cause: str) -> set[str]:
    """Return the playbooks that were begun for this cause already."""
    statement = select(RemedyRun.playbook).where(
        RemedyRun.cause == cause, RemedyRun.state.in_(ACTED)
    )
    return set(session.scalars(statement))


def requested(session: Session, *, limit: int) -> Sequence[RemedyRun]:
    """Return the remedies that were asked for and not begun, oldest first."""
    statement = (
        select(RemedyRun)
        .where(RemedyRun.state == RunState.REQUESTED)
        .order_by(RemedyRun.started_at)
        .limit(limit)
    )
    return session.scalars(statement).all()


def waiting(session: Session) -> Sequence[RemedyRun]:
    """Return the remedies that wait for a person's approval, oldest first."""
    statement = select(RemedyRun).where(RemedyRun.state == RunState.WAITING)
    return session.scalars(statement.order_by(RemedyRun.started_at)).all()


def abandoned(session: Session, older_than: timedelta) -> Sequence[RemedyRun]:
    """Return the remedies that were begun so long ago that their worker must have died."""
    statement = select(RemedyRun).where(
        RemedyRun.state == RunState.ACTING, RemedyRun.started_at < utcnow() - older_than
    )
    return session.scalars(statement).all()


def tally(session: Session) -> dict[str, tuple[int, int]]:
    """Return (verified, unverified) per playbook; one that found nothing to do proved nothing."""
    rows = session.execute(
        select(RemedyRun.playbook, RemedyRun.state, func.count())
        .where(
            RemedyRun.state.in_((RunState.VERIFIED, RunState.UNVERIFIED)),
            RemedyRun.acted.is_(True) | (RemedyRun.state == RunState.VERIFIED),
        )
        .group_by(RemedyRun.playbook, RemedyRun.state)
    )
    counts: dict[str, tuple[int, int]] = {}
    for playbook, state, count in rows:
        won, lost = counts.get(playbook, (0, 0))
        verified = state == RunState.VERIFIED
        counts[playbook] = (won + count, lost) if verified else (won, lost + count)
    return counts
