"""Forgetting what nobody needs any more: old runs, and jobs that came to a good end.

A job that failed or was quarantined is kept, because a person may still want to look at it; so
are remedies and contracts, which are few and are what somebody asks about a year later.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Delete, delete, func, select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.store.checks import CheckRun
from homeostat.store.effects import Effect, EffectStart
from homeostat.store.firings import Firing
from homeostat.store.health import StateChange
from homeostat.store.jobs import Job, JobState
from homeostat.store.timing import TickRepeat

#: At five checks a second a week is three million rows of runs. Effects and repeats belong to them.
KEEP_RUNS = timedelta(days=7)
KEEP_DONE_JOBS = timedelta(days=7)
#: What components did and what that led to; the bus, whose events are matched once, keeps a day.
KEEP_EVENTS = timedelta(days=30)


def forget(session: Session, now: datetime | None = None) -> dict[str, int]:
    """Delete what is older than its time, and return how many rows of each kind were deleted.

    Each component's newest change of state stays, however old: it is what the next one is told by.
    """
    now = now or utcnow()
    runs, events = now - KEEP_RUNS, now - KEEP_EVENTS
    newest = select(func.max(StateChange.id)).group_by(StateChange.component)
    done = (Job.state == JobState.DONE, Job.ended_at < now - KEEP_DONE_JOBS)
    past = (StateChange.at < events, StateChange.id.not_in(newest))
    old = {
        "check_runs": delete(CheckRun).where(CheckRun.due_at < runs),
        "tick_repeats": delete(TickRepeat).where(TickRepeat.due_at < runs),
        "effects": delete(Effect).where(Effect.at < runs),
        "effect_starts": delete(EffectStart).where(EffectStart.at < runs),
        "jobs": delete(Job).where(*done),
        "firings": delete(Firing).where(Firing.at < events),
        "state_changes": delete(StateChange).where(*past),
    }
    return {name: _deleted(session, statement) for name, statement in old.items()}


def _deleted(session: Session, statement: Delete) -> int:
    result: Any = session.execute(statement.execution_options(synchronize_session=False))
    return int(result.rowcount)
