"""What people are told, and when not: notices are rows, written in the transaction of their cause.

An opening is announced once; its end is announced if, and only if, the opening was. A mute, a
failed parent and flapping hold an announcement back; when they end and the incident is still
there, `homeostat.incidents.upkeep` announces it then.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from homeostat.clock import new_id
from homeostat.incidents import mutes
from homeostat.settings import settings
from homeostat.store import jobs
from homeostat.store.incidents import Incident, Notice
from homeostat.store.rows import insert_into

#: The task that sends one notice, and its queue.
TASK = "incidents.notify"
QUEUE = "incidents"


def write(
    session: Session,
    *,
    kind: str,
    natural_key: str,
    title: str,
    body: str,
    incident_id: str | None,
    priority: int,
    now: datetime,
) -> bool:
    """Write one notice and the job that sends it; False where it was written before.

    Without a receiver in the settings the row alone remains: it is what would have been said.
    """
    notice_id = new_id()
    statement = (
        insert_into(session, Notice)
        .values(
            id=notice_id,
            natural_key=natural_key,
            incident_id=incident_id,
            kind=kind,
            title=title,
            body=body,
            created_at=now,
            attempts=0,
        )
        .on_conflict_do_nothing(index_elements=["natural_key"])
        .returning(Notice.id)
    )
    if session.execute(statement).scalar() is None:
        return False
    if settings().notify_urls:
        jobs.enqueue(
            session,
            TASK,
            {"notice_id": notice_id},
            queue=QUEUE,
            priority=priority,
            natural_key=f"{TASK}:{notice_id}",
        )
    return True


def is_held_back(session: Session, incident: Incident, now: datetime) -> str | None:
    """Return why nothing may be announced of the incident now, or None where it may."""
    if incident.suppressed_by is not None:
        return f"incident {incident.suppressed_by} of a component that it needs is the cause"
    if incident.flapping_since is not None:
        return "it is flapping"
    mute = mutes.in_force(session, incident, now)
    return f"{mute.kind} until {mute.ends_at.isoformat()}" if mute is not None else None


def announce_opening(session: Session, incident: Incident, now: datetime) -> bool:
    """Announce an opening, unless it is held back; returns whether it was announced."""
    if incident.announced or is_held_back(session, incident, now) is not None:
        return False
    again = f" again (opening {incident.openings})" if incident.openings > 1 else ""
    incident.announced = True
    incident.reminded_at = now
    return write(
        session,
        kind="opened",
        natural_key=f"{incident.id}:{incident.openings}:opened",
        title=f"[{incident.severity}] {incident.label} opened{again}",
        body=_describe(incident),
        incident_id=incident.id,
        priority=priority_of(incident),
        now=now,
    )


def announce_end(session: Session, incident: Incident, now: datetime) -> bool:
    """Announce the resolution where the opening was announced.

    While the incident flaps the end waits, because the next opening may follow at once; the
    upkeep announces the last recovery when the flapping is over, so that it is never lost.
    """
    if not incident.announced or incident.flapping_since is not None:
        return False
    return write(
        session,
        kind="resolved",
        natural_key=f"{incident.id}:{incident.openings}:resolved",
        title=f"[resolved] {incident.label} after {incident.occurrences} occurrences",
        body=f"Resolved by {incident.resolved_by}.\n{_describe(incident)}",
        incident_id=incident.id,
        priority=priority_of(incident),
        now=now,
    )


def announce_escalation(session: Session, incident: Incident, now: datetime) -> bool:
    """Tell a person that the incident is theirs; a mute holds this back as it does the rest."""
    if is_held_back(session, incident, now) is not None:
        return False
    incident.announced = True
    return write(
        session,
        kind="escalated",
        natural_key=f"{incident.id}:{incident.openings}:escalated:{now.isoformat()}",
        title=f"[escalated] {incident.label} needs a person",
        body=_describe(incident),
        incident_id=incident.id,
        priority=10,
        now=now,
    )


def priority_of(incident: Incident) -> int:
    """Return the business priority of whatever is done for the incident."""
    return {"critical": 10, "high": 7, "medium": 4}.get(incident.severity, 1)


def _describe(incident: Incident) -> str:
    return (
        f"{incident.component}: {incident.type}: {incident.message}\n"
        f"State {incident.state}, {incident.occurrences} occurrences, first "
        f"{incident.first_seen_at.isoformat()}, last {incident.last_seen_at.isoformat()}.\n"
        f"{incident.reason}\nhomeostat incident show {incident.id}"
    )
