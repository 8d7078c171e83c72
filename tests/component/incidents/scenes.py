"""What the incident tests share: making failures, and looking at what was written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select

from homeostat.incidents import lifecycle, upkeep
from homeostat.incidents.failure import Failure
from homeostat.incidents.lifecycle import State
from homeostat.incidents.recognition import report
from homeostat.store import database
from homeostat.store.incidents import Incident, Notice, TimelineEntry


def fail(component: str = "shop", kind: str = "WorkerLostError", **how: Any) -> Incident:
    """Report one failure without frames and return its incident."""
    failure = Failure.without_frames(kind, "gone", "worker", component, f"{component}.ship")
    with database.transaction() as session:
        return report(session, failure, **how)


def move(incident: Incident, *states: State, actor: str = "agent") -> bool:
    """Take an incident through states; True where every step was allowed."""
    with database.transaction() as session:
        return all(
            lifecycle.transition(session, incident.id, state, actor=actor) for state in states
        )


def upkeep_at(moment: datetime) -> upkeep.Done:
    """Do one round of upkeep as if it were `moment`."""
    with database.transaction() as session:
        return upkeep.run(session, moment)


def now_of(incident: Incident) -> Incident:
    """Return the incident as it stands."""
    with database.reading() as session:
        return session.get_one(Incident, incident.id)


def notices(incident: Incident | None = None) -> list[str]:
    """Return the kinds of the notices written, oldest first."""
    with database.reading() as session:
        statement = select(Notice.kind).order_by(Notice.created_at, Notice.id)
        if incident is not None:
            statement = statement.where(Notice.incident_id == incident.id)
        return list(session.scalars(statement))


def timeline(incident: Incident) -> Sequence[TimelineEntry]:
    """Return the incident's timeline, oldest first."""
    with database.reading() as session:
        return session.scalars(
            select(TimelineEntry)
            .where(TimelineEntry.incident_id == incident.id)
            .order_by(TimelineEntry.id)
        ).all()


def events(incident: Incident) -> list[str]:
    """Return the names of the timeline's steps."""
    return [entry.event for entry in timeline(incident)]
