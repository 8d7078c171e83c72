"""Flapping: an incident that opens and ends again and again says one thing, not twenty.

While it flaps nothing is announced and no new analysis is begun; a person is asked instead. When
it has been quiet for a while, its last state, recovery included, is announced.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.incidents import lifecycle, notices
from homeostat.store.incidents import Incident, TimelineEntry

#: Openings within the window at which an incident counts as flapping (Nagios looks at 21 states
#: and calls 50 % of changes flapping; four openings in half an hour are as many at our cadence).
OPENINGS = 4
WINDOW = timedelta(minutes=30)
#: Without an opening or an end for this long the flapping is over.
QUIET = timedelta(minutes=10)


def note_opening(session: Session, incident: Incident) -> bool:
    """Look at a fresh opening; returns whether the incident has begun to flap with it."""
    if incident.flapping_since is not None:
        return False
    now = utcnow()
    recent = session.execute(
        select(func.count()).where(
            TimelineEntry.incident_id == incident.id,
            TimelineEntry.event.in_(("opened", "reopened")),
            TimelineEntry.at > now - WINDOW,
        )
    ).scalar_one()
    if recent < OPENINGS:
        return False
    incident.flapping_since = now
    detail = {"openings": int(recent), "minutes": int(WINDOW.total_seconds() // 60)}
    lifecycle.record(session, incident, "flapping", actor="flapping", detail=detail)
    notices.write(
        session,
        kind="flapping",
        natural_key=f"{incident.id}:{incident.openings}:flapping",
        title=f"[flapping] {incident.label} opened {recent} times in {WINDOW}",
        body=f"Announcements are held back until it has been quiet for {QUIET}.",
        incident_id=incident.id,
        priority=notices.priority_of(incident),
        now=now,
    )
    incident.announced = True
    session.flush()
    return True


def end_quiet_ones(session: Session, now: datetime) -> int:
    """End the flapping of incidents that have been quiet, and announce how they stand."""
    ended = 0
    for incident in session.scalars(select(Incident).where(Incident.flapping_since.is_not(None))):
        last = session.execute(
            select(func.max(TimelineEntry.at)).where(
                TimelineEntry.incident_id == incident.id,
                TimelineEntry.event.in_(
                    ("opened", "reopened", "resolved", "auto-resolved", "flapping")
                ),
            )
        ).scalar_one()
        if last is None or now - last < QUIET:
            continue
        since = incident.flapping_since
        seconds = (now - since).total_seconds() if since else None
        incident.flapping_since = None
        lifecycle.record(session, incident, "steady", actor="flapping", seconds=seconds, at=now)
        if incident.resolved_at is not None:
            incident.announced = True
            notices.announce_end(session, incident, now)
        else:
            incident.announced = False
            notices.announce_opening(session, incident, now)
        ended += 1
    session.flush()
    return ended
