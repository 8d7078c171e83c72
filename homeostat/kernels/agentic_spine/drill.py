"""An incident that the spine makes up, to see that it finds the way."""

from __future__ import annotations

from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.incidents.failure import Severity
from homeostat.incidents.lifecycle import State
from homeostat.store.incidents import Incident


def drilled(session: Session, error_type: str, *, in_code: bool) -> Incident:
    """Write a made-up incident in the caller's transaction, which is to be rolled back."""
    now, name = utcnow(), new_id()
    incident = Incident(
        id=name,
        group_key=f"drill-{name}",
        replay_key=f"drill-{name}",
        signature_version=0,
        label=f"drill_{name}",
        reason="the spine's probe",
        basis={"frames": ["drill:probe"] if in_code else []},
        component="drill",
        source="probe",
        severity=Severity.LOW,
        type=error_type,
        message="made up by the spine's probe",
        state=State.OPEN,
        state_since=now,
        occurrences=1,
        openings=1,
        healthy_runs=0,
        opened_at=now,
        first_seen_at=now,
        last_seen_at=now,
        announced=False,
        reminders=0,
    )
    session.add(incident)
    session.flush()
    return incident
