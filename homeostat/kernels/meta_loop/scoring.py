"""How a loop does: the score that a change of its interval must lower."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.store.checks import CheckRun
from homeostat.supervision import cadence

#: Ticks that a score is taken over, before a change and after it.
TICKS = 12
#: A loop whose load is above the first is relieved; a relieved one below the second is restored.
OVERLOADED, IDLE = 0.5, 0.1
#: An interval is never stretched beyond this many times the declared one.
MOST_STRETCH = 4.0
#: What a stretched interval costs: a failure is seen that much later.
STALENESS_WEIGHT = 0.2


@dataclass(frozen=True)
class Score:
    """How a loop did: `load` is the share of time it ran plus the share of ticks it missed."""

    load: float
    staleness: float

    @property
    def total(self) -> float:
        """The figure that a change must lower."""
        return self.load + STALENESS_WEIGHT * self.staleness


def score(
    session: Session, entry: str, interval_s: float, declared_s: float, until: datetime
) -> Score:
    """Score the last TICKS ticks of a loop that were due before `until`."""
    start = until - timedelta(seconds=TICKS * interval_s)
    due = [*cadence.due_between(entry, interval_s, start, until)]
    runs = session.execute(
        select(CheckRun.started_at, CheckRun.ended_at).where(
            CheckRun.entry == entry, CheckRun.due_at >= start, CheckRun.due_at < until
        )
    ).all()
    seconds = [(ended - started).total_seconds() for started, ended in runs]
    mean_s = sum(seconds) / len(seconds) if seconds else 0.0
    missed = max(0, len(due) - len(runs)) / len(due) if due else 0.0
    return Score(mean_s / interval_s + missed, interval_s / declared_s)


def wanted(score: Score, interval_s: float, declared_s: float) -> float:
    """Return the interval that the loop should have, in seconds; its own where it may stay."""
    if score.load > OVERLOADED:
        return min(2 * interval_s, MOST_STRETCH * declared_s)
    if score.load < IDLE and interval_s > declared_s:
        return max(interval_s / 2, declared_s)
    return interval_s


def seen(session: Session, entry: str, interval_s: float, now: datetime) -> bool:
    """Return whether the loop has been running long enough for a score."""
    first = now - timedelta(seconds=TICKS * interval_s)
    earlier = select(CheckRun.id).where(CheckRun.entry == entry, CheckRun.due_at <= first)
    return session.scalar(earlier.limit(1)) is not None
