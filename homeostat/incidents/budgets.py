"""Budgets and the storm breaker: how often a fix may be attempted before people take over.

One budget per signature, per component and overall, counted in a sliding hour. A fix after which
something new breaks in the same component, or the same failure comes back, opens the breaker of
its scope: no further attempt there until it closes again by time, or by a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.incidents.failure import Source
from homeostat.store.incidents import Breaker, Incident, RepairAttempt

WINDOW = timedelta(hours=1)
#: Attempts within the window, by scope.
PER_SIGNATURE, PER_COMPONENT, OVERALL = 3, 6, 20
#: A new failure this soon after a fix was applied is taken to be its doing.
BLAME = timedelta(minutes=10)
OPEN_FOR = timedelta(hours=1)
REVERTED = "reverted"
#: So many fixes taken back within the window are a storm: nothing is fixed by itself any more.
REVERT_STORM = 3
EVERYTHING = "overall"
#: Any constant will do; it names the budget's lock among PostgreSQL's advisory locks.
ADVISORY_LOCK = 7_205_110_602


@dataclass(frozen=True)
class Decision:
    """Whether an attempt may be made; `attempt_id` names it, `reason` says why not."""

    allowed: bool
    reason: str
    attempt_id: str | None = None


def take(session: Session, incident: Incident, now: datetime | None = None) -> Decision:
    """Charge one attempt to the incident's budgets; refused where one is spent or broken.

    Checking counts, so ask last. Two workers are told one after the other.
    """
    now = now or utcnow()
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
    broken = session.scalar(
        select(Breaker)
        .where(Breaker.scope.in_(scopes_of(incident)), Breaker.open_until > now)
        .order_by(Breaker.open_until.desc())
        .limit(1)
    )
    if broken is not None:
        return Decision(
            allowed=False,
            reason=f"the breaker of {broken.scope} is open until {broken.open_until.isoformat()}: "
            f"{broken.reason}",
        )
    for name, limit, where in (
        ("this signature", PER_SIGNATURE, RepairAttempt.group_key == incident.group_key),
        (incident.component, PER_COMPONENT, RepairAttempt.component == incident.component),
        ("all together", OVERALL, RepairAttempt.at <= now),
    ):
        spent = session.execute(
            select(func.count()).where(where, RepairAttempt.at > now - WINDOW)
        ).scalar_one()
        if spent >= limit:
            return Decision(
                allowed=False, reason=f"the budget of {name} is spent: {spent} attempts in {WINDOW}"
            )
    attempt = RepairAttempt(
        incident_id=incident.id,
        group_key=incident.group_key,
        component=incident.component,
        at=now,
    )
    session.add(attempt)
    session.flush()
    return Decision(allowed=True, reason="within budget", attempt_id=attempt.id)


def scopes_of(incident: Incident) -> list[str]:
    """Return the names of the breakers that an incident is behind."""
    return [f"signature:{incident.group_key}", f"component:{incident.component}", EVERYTHING]


def note_applied(session: Session, attempt_id: str, now: datetime | None = None) -> None:
    """Note that the attempt's fix is in force from now on: what breaks soon after is its doing."""
    attempt = session.get_one(RepairAttempt, attempt_id)
    attempt.applied_at = now or utcnow()
    session.flush()


def note_outcome(
    session: Session, attempt_id: str, outcome: str, now: datetime | None = None
) -> None:
    """Note how the attempt ended: `fixed`, `reverted`, `failed`, `refused`.

    A fix that was taken back opens the breaker of its signature, and the breaker of everything
    where it is one of a storm.
    """
    now = now or utcnow()
    attempt = session.get_one(RepairAttempt, attempt_id)
    attempt.outcome = outcome
    session.flush()
    if outcome != REVERTED:
        return
    break_open(session, f"signature:{attempt.group_key}", f"fix {attempt_id} was taken back", now)
    reverts = session.execute(
        select(func.count()).where(
            RepairAttempt.outcome == REVERTED, RepairAttempt.at > now - WINDOW
        )
    ).scalar_one()
    if reverts >= REVERT_STORM:
        reason = f"{reverts} fixes were taken back within {WINDOW}"
        break_open(session, EVERYTHING, reason, now)


def note_opening(session: Session, incident: Incident, now: datetime | None = None) -> str | None:
    """Blame a fix applied shortly before in the same component; return the opened breaker.

    What a trigger saw is an echo of failures that were counted before the fix, and blames nobody.
    """
    if incident.source == Source.TRIGGER:
        return None
    now = now or utcnow()
    blamed = session.scalar(
        select(RepairAttempt)
        .where(
            RepairAttempt.component == incident.component,
            RepairAttempt.applied_at > now - BLAME,
            RepairAttempt.applied_at <= now,
        )
        .order_by(RepairAttempt.applied_at.desc())
        .limit(1)
    )
    if blamed is None:
        return None
    if blamed.group_key == incident.group_key:
        scope, what = f"signature:{incident.group_key}", "the failure came back"
    else:
        scope, what = f"component:{incident.component}", f"{incident.label} opened"
    break_open(session, scope, f"{what} after the fix of attempt {blamed.id}", now)
    return scope


def break_open(session: Session, scope: str, reason: str, now: datetime) -> None:
    """Open the breaker of a scope; one that is open stays open longer."""
    breaker = session.get(Breaker, scope)
    if breaker is None:
        session.add(Breaker(scope=scope, opened_at=now, open_until=now + OPEN_FOR, reason=reason))
    else:
        if breaker.open_until <= now:
            breaker.opened_at = now
        breaker.open_until = now + OPEN_FOR
        breaker.reason = reason
    session.flush()


def close(session: Session, scope: str, now: datetime | None = None) -> bool:
    """Close a breaker by hand; False where it is not open."""
    breaker = session.get(Breaker, scope)
    now = now or utcnow()
    if breaker is None or breaker.open_until <= now:
        return False
    breaker.open_until = now
    session.flush()
    return True
