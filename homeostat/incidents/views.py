"""Incidents as the doors show them: plain JSON values for lists, one incident, its timeline."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from pydantic import JsonValue
from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session

from homeostat.errors import HomeostatError
from homeostat.incidents import lifecycle, retention
from homeostat.store.incidents import Bundle, Incident, Notice, TimelineEntry

Row = dict[str, JsonValue]

#: What every door counts as open: not over, and not below its component's threshold.
IS_OPEN: ColumnElement[bool] = and_(
    Incident.resolved_at.is_(None), Incident.state != lifecycle.State.PENDING
)

_COLUMNS = (
    Incident.id,
    Incident.label,
    Incident.component,
    Incident.task,
    Incident.severity,
    Incident.state,
    Incident.type,
    Incident.message,
    Incident.occurrences,
    Incident.openings,
    Incident.first_seen_at,
    Incident.last_seen_at,
    Incident.opened_at,
    Incident.resolved_at,
    Incident.acknowledged_by,
    Incident.suppressed_by,
    Incident.flapping_since,
    Incident.group_key,
    Incident.replay_key,
)


def incidents(
    session: Session,
    *,
    component: str | None = None,
    states: Collection[str] = (),
    resolved: bool | None = None,
    limit: int = 100,
) -> list[Row]:
    """Return incidents, last seen first; `resolved` None gives open and resolved ones.

    Raises UnknownStateError where one of the states is none.
    """
    for state in states:
        require_state(state)
    statement = select(*_COLUMNS).order_by(Incident.last_seen_at.desc()).limit(limit)
    if component is not None:
        statement = statement.where(Incident.component == component)
    if states:
        statement = statement.where(Incident.state.in_(states))
    if resolved is not None:
        ended = Incident.resolved_at
        statement = statement.where(ended.is_not(None) if resolved else ended.is_(None))
    return [
        {name: _plain(value) for name, value in row._mapping.items()}  # noqa: SLF001  # its public name
        for row in session.execute(statement)
    ]


class UnknownStateError(HomeostatError):
    """No incident can be in that state."""

    exit_code = 64


def require_state(name: str) -> None:
    """Raise UnknownStateError where it is none of the lifecycle's states."""
    known = [state.value for state in lifecycle.State]
    if name not in known:
        raise UnknownStateError(f"No incident can be {name!r}; the states are {', '.join(known)}.")


def _plain(value: object) -> JsonValue:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def timeline(session: Session, incident_id: str) -> list[Row]:
    """Return the steps of an incident's life, oldest first; raises UnknownIncidentError."""
    incident = lifecycle.find(session, incident_id)
    entries = session.scalars(
        select(TimelineEntry)
        .where(TimelineEntry.incident_id == incident.id)
        .order_by(TimelineEntry.at, TimelineEntry.id)
    )
    return [
        {
            "at": entry.at.isoformat(),
            "actor": entry.actor,
            "event": entry.event,
            "from": entry.from_state,
            "to": entry.to_state,
            "seconds": entry.seconds,
            "detail": entry.detail,
        }
        for entry in entries
    ]


def incident(session: Session, incident_id: str, *, with_bundle: bool = True) -> Row:
    """Return all that is known of one incident; raises UnknownIncidentError."""
    found = lifecycle.find(session, incident_id)
    row: Row = {column.key: _plain(getattr(found, column.key)) for column in _COLUMNS}
    row |= {
        "source": found.source,
        "reason": found.reason,
        "basis": found.basis,
        "signature_version": found.signature_version,
        "resolved_by": found.resolved_by,
        "healthy_runs": found.healthy_runs,
        "announced": found.announced,
        "over_time": [
            {"starts_at": at.isoformat(), "width_s": width, "count": count}
            for at, width, count in retention.slices(session, found.id)
        ],
        "timeline": list(timeline(session, found.id)),
        "notices": [
            {"kind": notice.kind, "title": notice.title, "at": notice.created_at.isoformat(),
             "sent_at": _plain(notice.sent_at), "error": notice.error}
            for notice in session.scalars(
                select(Notice).where(Notice.incident_id == found.id).order_by(Notice.created_at)
            )
        ],
    }  # fmt: skip
    if with_bundle:
        newest = session.scalar(
            select(Bundle)
            .where(Bundle.incident_id == found.id)
            .order_by(Bundle.opening.desc())
            .limit(1)
        )
        row["bundle"] = newest.content if newest is not None else None
    return row
