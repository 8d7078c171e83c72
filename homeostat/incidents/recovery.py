"""Recovery: healthy runs of a component end its incidents."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.orm import Session

from homeostat.incidents import lifecycle
from homeostat.incidents.lifecycle import IN_REPAIR, State
from homeostat.store.incidents import Incident

#: Healthy runs in a row after which an incident that nobody works on is over.
HEALTHY_RUNS = 3


def healthy_run(session: Session, component: str, *, recover_after: int = 1) -> list[str]:
    """Count one healthy run of a component; return the incidents that it resolved.

    After `HEALTHY_RUNS` healthy runs in a row (or the component's own `recover_after`, where that
    is more) an incident is over, unless a repair is at work on it; one that is below its threshold
    is at once. Under VERIFYING the runs are counted as evidence, and the repair's own watch ends
    the incident. One UPDATE where the component has no open incident.
    """
    needed = max(HEALTHY_RUNS, recover_after)
    statement = (
        update(Incident)
        .where(
            Incident.component == component,
            Incident.resolved_at.is_(None),
            Incident.state.not_in(IN_REPAIR - {State.VERIFYING}),
        )
        .values(healthy_runs=Incident.healthy_runs + 1, failures_in_row=0)
        .returning(Incident.id, Incident.healthy_runs, Incident.state)
        .execution_options(synchronize_session=False)
    )
    resolved = []
    for incident_id, runs, state in session.execute(statement).all():
        enough = runs >= needed or state == State.PENDING
        if (
            enough
            and state != State.VERIFYING
            and lifecycle.transition(
                session,
                incident_id,
                State.RESOLVED,
                actor="auto",
                event="auto-resolved",
                detail={"healthy_runs": runs},
            )
        ):
            resolved.append(incident_id)
    return resolved
