"""Counting: each failure once, in the slice of time in which it happened.

Occurrences are counts per incident, component and minute, never a row each, so a million of them
cost no more than the minutes in which they fell. A reporter that may tell of the same failure
twice gives it a key of its own, a sighting; the database decides who was first.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.incidents.failure import Failure
from homeostat.store.incidents import Incident, OccurrenceCount, Sighting
from homeostat.store.rows import insert_into

#: Width of a fresh occurrence count, in seconds; `homeostat.incidents.retention` rolls them up.
FRESH_S = 60


def sighted(session: Session, key: str) -> Incident | None:
    """Claim the key; return the incident that it was counted on where it was claimed before."""
    statement = (
        insert_into(session, Sighting)
        .values(key=key[:255], at=utcnow())
        .on_conflict_do_nothing(index_elements=["key"])
        .returning(Sighting.key)
    )
    if session.execute(statement).scalar() is not None:
        return None
    seen = session.get(Sighting, key[:255])
    return session.get(Incident, seen.incident_id) if seen and seen.incident_id else None


def bind_sighting(session: Session, key: str, incident: Incident) -> None:
    """Say on which incident the claimed key was counted."""
    session.execute(
        update(Sighting)
        .where(Sighting.key == key[:255])
        .values(incident_id=incident.id)
        .execution_options(synchronize_session=False)
    )


def count(session: Session, incident: Incident, failure: Failure) -> None:
    """Add one to the count of the minute in which the failure happened."""
    moment = failure.occurred_at
    starts_at = datetime.fromtimestamp(moment.timestamp() // FRESH_S * FRESH_S, moment.tzinfo)
    insert = insert_into(session, OccurrenceCount).values(
        incident_id=incident.id,
        component=failure.component[:255],
        width_s=FRESH_S,
        starts_at=starts_at,
        count=1,
        first_at=moment,
        last_at=moment,
    )
    session.execute(
        insert.on_conflict_do_update(
            index_elements=["incident_id", "component", "width_s", "starts_at"],
            set_={"count": OccurrenceCount.count + 1, "last_at": insert.excluded.last_at},
        )
    )


def total(session: Session, incident_id: str) -> int:
    """Return the occurrences by the slices of time: the same number as on the incident's row."""
    statement = select(func.coalesce(func.sum(OccurrenceCount.count), 0)).where(
        OccurrenceCount.incident_id == incident_id
    )
    return int(session.execute(statement).scalar_one())
