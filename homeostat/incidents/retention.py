"""Forgetting: occurrence counts are rolled up to hours, then days, and old evidence is dropped.

The sum of an incident's counts never changes by a roll-up; the number on its row is kept for as
long as the incident is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.store.incidents import Bundle, Incident, Mute, Notice, OccurrenceCount, Sighting
from homeostat.store.rows import insert_into

HOUR_S, DAY_S = 3_600, 86_400
#: Slices of this width become slices of that width when they are this old.
ROLL_UPS = (
    (60, HOUR_S, timedelta(days=2)),
    (HOUR_S, DAY_S, timedelta(days=30)),
)
KEEP_INCIDENTS = timedelta(days=400)
KEEP_BUNDLES = timedelta(days=90)
KEEP_NOTICES = timedelta(days=90)
KEEP_SIGHTINGS = timedelta(days=7)
BATCH = 5_000


class Forgotten(BaseModel):
    """How many rows were rolled up or dropped in one round."""

    rolled_up: int = 0
    incidents: int = 0
    bundles: int = 0
    notices: int = 0
    sightings: int = 0
    mutes: int = 0


def run(session: Session, now: datetime | None = None) -> Forgotten:
    """Roll up and forget what is old at `now`; bounded, so call it again until it does nothing."""
    now = now or utcnow()
    return Forgotten(
        rolled_up=sum(roll_up(session, *step, now=now) for step in ROLL_UPS),
        bundles=_delete(
            session,
            Bundle,
            Bundle.incident_id.in_(
                select(Incident.id).where(Incident.resolved_at < now - KEEP_BUNDLES)
            ),
        ),
        notices=_delete(session, Notice, Notice.created_at < now - KEEP_NOTICES),
        sightings=_delete(session, Sighting, Sighting.at < now - KEEP_SIGHTINGS),
        mutes=_delete(session, Mute, Mute.ends_at < now - KEEP_NOTICES),
        incidents=_delete(session, Incident, Incident.resolved_at < now - KEEP_INCIDENTS),
    )


def _delete(session: Session, model: type, where: Any) -> int:
    statement = delete(model).where(where).execution_options(synchronize_session=False)
    result: Any = session.execute(statement)
    return int(result.rowcount)


def roll_up(
    session: Session, width_s: int, wider_s: int, after: timedelta, *, now: datetime
) -> int:
    """Join up to `BATCH` slices older than `after` into wider ones; return how many were joined."""
    old = session.scalars(
        select(OccurrenceCount)
        .where(OccurrenceCount.width_s == width_s, OccurrenceCount.starts_at < now - after)
        .order_by(OccurrenceCount.starts_at)
        .limit(BATCH)
    ).all()
    joined: dict[tuple[str, str, datetime], list[OccurrenceCount]] = {}
    for narrow in old:
        begins = narrow.starts_at.timestamp() // wider_s * wider_s
        starts_at = datetime.fromtimestamp(begins, narrow.starts_at.tzinfo)
        key = (narrow.incident_id, narrow.component, starts_at)
        joined.setdefault(key, []).append(narrow)
        session.delete(narrow)
    for (incident_id, component, starts_at), narrows in joined.items():
        _add(session, incident_id, component, wider_s, starts_at, narrows)
    session.flush()
    return len(old)


def _add(
    session: Session,
    incident_id: str,
    component: str,
    width_s: int,
    starts_at: datetime,
    narrows: Sequence[OccurrenceCount],
) -> None:
    """Add slices to the wider one that they lie in, which is made where there is none."""
    insert = insert_into(session, OccurrenceCount).values(
        incident_id=incident_id,
        component=component,
        width_s=width_s,
        starts_at=starts_at,
        count=sum(narrow.count for narrow in narrows),
        first_at=min(narrow.first_at for narrow in narrows),
        last_at=max(narrow.last_at for narrow in narrows),
    )
    session.execute(
        insert.on_conflict_do_update(
            index_elements=["incident_id", "component", "width_s", "starts_at"],
            set_={
                "count": OccurrenceCount.count + insert.excluded.count,
                "last_at": insert.excluded.last_at,
            },
        )
    )


def slices(session: Session, incident_id: str) -> Sequence[tuple[datetime, int, int]]:
    """Return an incident's occurrences over time: start, width in seconds, count."""
    statement = (
        select(OccurrenceCount.starts_at, OccurrenceCount.width_s, func.sum(OccurrenceCount.count))
        .where(OccurrenceCount.incident_id == incident_id)
        .group_by(OccurrenceCount.starts_at, OccurrenceCount.width_s)
        .order_by(OccurrenceCount.starts_at)
    )
    return [(at, width, int(count)) for at, width, count in session.execute(statement)]
