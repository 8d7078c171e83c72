"""Keeps drills from people: silent while they run, resolved when they are over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import select

from homeostat.clock import utcnow
from homeostat.incidents import lifecycle, mutes
from homeostat.incidents.lifecycle import State
from homeostat.incidents.mutes import MuteKind
from homeostat.store.database import transaction
from homeostat.store.incidents import Incident
from homeostat.stress.evidence.incidents import DRILL_TASK

ACTOR = "stress"
#: The silence ends by itself where the run does not live to lift it.
MARGIN = timedelta(minutes=10)


@contextmanager
def silenced(seconds: float) -> Iterator[None]:
    """Hold back announcements of the drills, and of nothing else, inside the block."""
    with transaction() as session:
        mute = mutes.add(
            session,
            MuteKind.SILENCE,
            DRILL_TASK,
            ends_at=utcnow() + timedelta(seconds=seconds) + MARGIN,
            actor=ACTOR,
            reason="known failures are raised on purpose",
        )
    try:
        yield
    finally:
        with transaction() as session:
            mutes.lift(session, mute.id, utcnow())


def resolve_all() -> int:
    """Resolve every drill's incident that is still open, and return how many there were."""
    with transaction() as session:
        ids = session.scalars(
            select(Incident.id).where(Incident.task == DRILL_TASK, Incident.resolved_at.is_(None))
        ).all()
        detail = {"reason": "the drill is over"}
        for incident_id in ids:
            lifecycle.transition(session, incident_id, State.RESOLVED, actor=ACTOR, detail=detail)
    return len(ids)
