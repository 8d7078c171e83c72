"""The life of an incident: states, the ways between them, and a timeline row for every step.

Every change is a compare-and-set on the row, so of two workers that want the same step one wins
and the other is told so; nothing is announced or done twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import JsonValue
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.errors import HomeostatError
from homeostat.incidents import mutes, notices
from homeostat.store.incidents import Incident, TimelineEntry


class State(StrEnum):
    """Where an incident stands. PENDING is below the component's threshold: counted, not opened."""

    PENDING = "pending"
    OPEN = "open"
    ANALYSING = "analysing"
    PROPOSED = "proposed"
    AWAITING_APPROVAL = "awaiting_approval"
    APPLYING = "applying"
    VERIFYING = "verifying"
    ESCALATED = "escalated"
    RESOLVED = "resolved"


_S = State
#: From each state, the states that may follow. RESOLVED is left only by `reopen`.
WAYS: Mapping[State, frozenset[State]] = {
    _S.PENDING: frozenset({_S.OPEN, _S.RESOLVED}),
    _S.OPEN: frozenset({_S.ANALYSING, _S.ESCALATED, _S.RESOLVED}),
    _S.ANALYSING: frozenset(
        {_S.OPEN, _S.PROPOSED, _S.APPLYING, _S.VERIFYING, _S.ESCALATED, _S.RESOLVED}
    ),
    _S.PROPOSED: frozenset({_S.AWAITING_APPROVAL, _S.APPLYING, _S.ESCALATED, _S.RESOLVED}),
    _S.AWAITING_APPROVAL: frozenset({_S.APPLYING, _S.ESCALATED, _S.RESOLVED}),
    _S.APPLYING: frozenset({_S.VERIFYING, _S.OPEN, _S.ESCALATED, _S.RESOLVED}),
    _S.VERIFYING: frozenset({_S.OPEN, _S.ESCALATED, _S.RESOLVED}),
    _S.ESCALATED: frozenset({_S.ANALYSING, _S.AWAITING_APPROVAL, _S.APPLYING, _S.RESOLVED}),
    _S.RESOLVED: frozenset(),
}
#: While a repair is at work, its own verification ends the incident, not a lucky healthy run.
IN_REPAIR = frozenset({_S.ANALYSING, _S.APPLYING, _S.VERIFYING})


class UnknownIncidentError(HomeostatError):
    """No incident has that id; `homeostat incident list` shows them."""

    exit_code = 64


class StepRefusedError(HomeostatError):
    """The incident is not in a state that allows this step."""

    exit_code = 65


def find(session: Session, incident_id: str) -> Incident:
    """Return the incident as it stands now; raises UnknownIncidentError.

    As people type it, a prefix will do where only one incident has it, and a label; of several
    incidents of one label the open one is meant, or else the newest.
    """
    found = session.get(Incident, incident_id, populate_existing=True)
    if found is None and len(incident_id) >= 4:
        alike = session.scalars(
            select(Incident)
            .where(
                Incident.id.startswith(incident_id, autoescape=True)
                | (Incident.label == incident_id)
            )
            .order_by(Incident.resolved_at.is_(None).desc(), Incident.id.desc())
            .limit(2)
        ).all()
        if len(alike) == 1 or (alike and alike[0].label == incident_id):
            return alike[0]
        if alike:
            raise UnknownIncidentError(f"Several ids begin with {incident_id!r}; give more of it.")
    if found is None:
        raise UnknownIncidentError(
            f"No incident has the id {incident_id!r}; `homeostat incident list` shows them."
        )
    return found


def record(
    session: Session,
    incident: Incident,
    event: str,
    *,
    actor: str,
    from_state: State | str | None = None,
    to_state: State | str | None = None,
    seconds: float | None = None,
    at: datetime | None = None,
    detail: Mapping[str, JsonValue] | None = None,
) -> None:
    """Write one timeline row; `seconds` is how long the state that was left had lasted."""
    session.add(
        TimelineEntry(
            incident_id=incident.id,
            at=at or utcnow(),
            actor=actor,
            event=event,
            from_state=from_state,
            to_state=to_state,
            seconds=seconds,
            detail=dict(detail or {}),
        )
    )
    session.flush()


def transition(
    session: Session,
    incident_id: str,
    to_state: State,
    *,
    actor: str,
    expected: Collection[State] | None = None,
    event: str | None = None,
    detail: Mapping[str, JsonValue] | None = None,
    at: datetime | None = None,
) -> bool:
    """Move the incident to `to_state`; False where it is not where the caller thinks it is.

    `expected` are the states that the caller is ready to leave; by default all from which
    `to_state` may follow. A resolution is announced where the opening was.
    """
    incident = find(session, incident_id)
    before = State(incident.state)
    allowed = {state for state, ways in WAYS.items() if to_state in ways}
    if before not in (allowed if expected is None else allowed & set(expected)):
        return False
    now = at or utcnow()
    values: dict[str, Any] = {"state": to_state, "state_since": now}
    if to_state is State.RESOLVED:
        values |= {"resolved_at": now, "resolved_by": actor, "suppressed_by": None}
    if not _compare_and_set(session, incident, before, values):
        return False
    record(
        session,
        incident,
        event or to_state,
        actor=actor,
        from_state=before,
        to_state=to_state,
        seconds=(now - incident.state_since).total_seconds(),
        at=now,
        detail=detail,
    )
    session.refresh(incident)
    if to_state is State.RESOLVED and before is not State.PENDING:
        notices.announce_end(session, incident, now)
    if to_state is State.ESCALATED:
        notices.announce_escalation(session, incident, now)
    return True


def _compare_and_set(
    session: Session, incident: Incident, before: State, values: Mapping[str, Any]
) -> bool:
    statement = (
        update(Incident)
        .where(
            Incident.id == incident.id,
            Incident.state == before,
            Incident.state_since == incident.state_since,
        )
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    result: Any = session.execute(statement)
    return bool(result.rowcount == 1)


def resolve(session: Session, incident_id: str, *, actor: str, reason: str = "") -> None:
    """Resolve by hand; raises StepRefusedError where it is resolved already."""
    if not transition(session, incident_id, State.RESOLVED, actor=actor, detail={"reason": reason}):
        raise StepRefusedError(f"Incident {incident_id} is resolved already.")


def reopen(
    session: Session,
    incident_id: str,
    *,
    actor: str,
    reason: str = "",
    recurred: bool = False,
    pending: bool = False,
) -> bool:
    """Open a resolved incident again; False where another process did so first.

    With `pending` it is only counted on, below its component's threshold. Raises
    StepRefusedError where it is open, or a newer one of its signature is.
    """
    incident = find(session, incident_id)
    if incident.resolved_at is None:
        raise StepRefusedError(f"Incident {incident_id} is open already.")
    newer = session.scalar(
        select(Incident.id).where(
            Incident.group_key == incident.group_key, Incident.resolved_at.is_(None)
        )
    )
    if newer is not None:
        raise StepRefusedError(f"Incident {newer} of the same signature is open already.")
    now = utcnow()
    since = incident.state_since
    to_state = State.PENDING if pending else State.OPEN
    values = {
        "state": to_state,
        "state_since": now,
        "resolved_at": None,
        "resolved_by": None,
        "failures_in_row": 0,
        "healthy_runs": 0,
        "announced": False,
        "acknowledged_by": None,
        "acknowledged_at": None,
        "reminded_at": None,
        "reminders": 0,
    }
    if not pending:
        values |= {"opened_at": now, "openings": Incident.openings + 1}
    if not _compare_and_set(session, incident, State.RESOLVED, values):
        return False
    session.refresh(incident)
    record(
        session,
        incident,
        "pending" if pending else "reopened",
        actor=actor,
        from_state=State.RESOLVED,
        to_state=to_state,
        seconds=(now - since).total_seconds(),
        at=now,
        detail={"reason": reason or ("it happened again" if recurred else "")},
    )
    return True


def acknowledge(session: Session, incident_id: str, *, actor: str, note: str = "") -> None:
    """Note that a person has taken the incident on: reminders and escalation by time stop.

    Raises StepRefusedError where it is resolved or was acknowledged already.
    """
    incident = find(session, incident_id)
    now = utcnow()
    statement = (
        update(Incident)
        .where(
            Incident.id == incident.id,
            Incident.resolved_at.is_(None),
            Incident.acknowledged_at.is_(None),
        )
        .values(acknowledged_by=actor, acknowledged_at=now)
        .execution_options(synchronize_session=False)
    )
    result: Any = session.execute(statement)
    if result.rowcount != 1:
        why = "resolved" if incident.resolved_at else f"taken by {incident.acknowledged_by}"
        raise StepRefusedError(f"Incident {incident_id} is {why} already.")
    session.refresh(incident)
    seconds = (now - incident.opened_at).total_seconds()
    record(session, incident, "acknowledged", actor=actor, seconds=seconds, detail={"note": note})


def silence(
    session: Session, incident_id: str, *, actor: str, ends_at: datetime, reason: str = ""
) -> None:
    """Hold back announcements of the incident's signature for a while; it goes on itself.

    Raises MuteRefusedError where the end is past or too far away.
    """
    incident = find(session, incident_id)
    kind, target = mutes.MuteKind.SILENCE, incident.group_key
    mutes.add(session, kind, target, ends_at=ends_at, actor=actor, reason=reason)
    detail = {"until": ends_at.isoformat(), "reason": reason}
    record(session, incident, "silenced", actor=actor, detail=detail)
