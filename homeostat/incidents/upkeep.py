"""What is due for incidents as time goes by; the `incidents` queue calls `run` every half minute.

Announcements that were held back and no longer are, children whose parent has recovered,
flapping that has ended, reminders, escalation of what nobody took on. Each is written once, by
natural key, so that a restart or a doubled call re-alerts nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.incidents import flapping, lifecycle, notices, suppression
from homeostat.incidents.failure import Severity
from homeostat.incidents.lifecycle import State
from homeostat.store.incidents import Incident

ACTOR = "upkeep"
#: The first reminder comes after this long; each wait is twice the one before, up to the longest.
FIRST_REMINDER = timedelta(hours=1)
LONGEST_REMINDER = timedelta(hours=24)
#: Without anyone's acknowledgement, or an end, an incident becomes a person's after this long.
ESCALATE_AFTER = {
    Severity.CRITICAL: timedelta(minutes=15),
    Severity.HIGH: timedelta(hours=1),
    Severity.MEDIUM: timedelta(hours=8),
    Severity.LOW: timedelta(hours=24),
}
#: States in which nobody is at work, so that waiting leads nowhere.
_WAITING = (State.OPEN, State.ANALYSING, State.PROPOSED, State.AWAITING_APPROVAL)
_BATCH = 500


class Done(BaseModel):
    """How many of each were done in one round."""

    released: int = 0
    steadied: int = 0
    announced: int = 0
    escalated: int = 0
    reminded: int = 0


def run(session: Session, now: datetime | None = None) -> Done:
    """Do what is due at `now`."""
    now = now or utcnow()
    return Done(
        released=len(suppression.release(session, now)),
        steadied=flapping.end_quiet_ones(session, now),
        announced=_announce_held_back(session, now),
        escalated=_escalate(session, now),
        reminded=_remind(session, now),
    )


def _announce_held_back(session: Session, now: datetime) -> int:
    """Announce what was muted when it opened and is still open now."""
    waiting = session.scalars(
        select(Incident)
        .where(
            Incident.resolved_at.is_(None),
            Incident.announced.is_(False),
            Incident.state != State.PENDING,
        )
        .limit(_BATCH)
    ).all()
    return sum(notices.announce_opening(session, incident, now) for incident in waiting)


def _escalate(session: Session, now: datetime) -> int:
    escalated = 0
    for severity, patience in ESCALATE_AFTER.items():
        due = session.scalars(
            select(Incident)
            .where(
                Incident.resolved_at.is_(None),
                Incident.state.in_(_WAITING),
                Incident.severity == severity,
                Incident.acknowledged_at.is_(None),
                Incident.suppressed_by.is_(None),
                Incident.opened_at <= now - patience,
            )
            .limit(_BATCH)
        ).all()
        for incident in due:
            detail = {"waited_s": (now - incident.opened_at).total_seconds()}
            escalated += lifecycle.transition(
                session, incident.id, State.ESCALATED, actor=ACTOR, detail=detail, at=now
            )
    return escalated


def _remind(session: Session, now: datetime) -> int:
    """Remind of what was announced and nobody has taken on; the waits double."""
    candidates = session.scalars(
        select(Incident)
        .where(
            Incident.resolved_at.is_(None),
            Incident.announced.is_(True),
            Incident.acknowledged_at.is_(None),
            Incident.opened_at <= now - FIRST_REMINDER,
        )
        .limit(_BATCH)
    ).all()
    reminded = 0
    for incident in candidates:
        wait = min(FIRST_REMINDER * 2**incident.reminders, LONGEST_REMINDER)
        if now - (incident.reminded_at or incident.opened_at) < wait:
            continue
        if notices.is_held_back(session, incident, now) is not None:
            continue
        incident.reminders += 1
        incident.reminded_at = now
        open_for = now - incident.opened_at
        reminded += notices.write(
            session,
            kind="reminder",
            natural_key=f"{incident.id}:{incident.openings}:reminder:{incident.reminders}",
            title=f"[reminder] {incident.label} is open for {open_for}, and nobody's",
            body=f"homeostat incident ack {incident.id}",
            incident_id=incident.id,
            priority=notices.priority_of(incident),
            now=now,
        )
        session.flush()
    return reminded
