"""What `homeostat status` shows: read from the store, the supervisor and the broker, now.

What cannot be read is UNKNOWN with the reason, never left out and never taken for fine.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from homeostat.clock import utcnow
from homeostat.component import State
from homeostat.errors import BrokerUnavailableError
from homeostat.incidents.views import IS_OPEN
from homeostat.settings import Settings
from homeostat.store.database import migrate, reading
from homeostat.store.incidents import Incident
from homeostat.supervision import overview as known
from homeostat.supervision.overview import View
from homeostat.supervision.processes import (
    ProcessControlError,
    SupervisorProcesses,
    supervisor_socket,
)
from workers import control, state_file


def overview(settings: Settings) -> dict[str, Any]:
    """Return the status as one JSON-ready object.

    Raises StoreUnavailableError where the database does not answer.
    """
    migrate()
    components = component_states()
    counts = {state.value: 0 for state in State}
    for row in components:
        counts[row["state"]] += 1
    return {
        "at": utcnow().isoformat(),
        "counts": counts,
        "components": components,
        "stack": stack_state(settings),
        "queues": queue_depths(),
        "incidents": open_incidents(),
    }


def component_states() -> list[dict[str, Any]]:
    """Return each component's state, why, and the evidence of its last passed check."""
    with reading() as session:
        return [_row(view) for view in known.overview(session)]


def _row(view: View) -> dict[str, Any]:
    lease = view.lease
    return {
        "name": view.name,
        "tier": view.spec.tier if view.spec else None,
        "state": view.state.value,
        "reason": view.reason,
        "seen_at": _iso(lease.renewed_at if lease else None),
        "lease_until": _iso(lease.expires_at if lease else None),
        "evidence": lease.evidence if lease else None,
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def stack_state(settings: Settings) -> dict[str, Any]:
    """Return the addresses and the processes of the stack on this state folder."""
    state = state_file.running(settings)
    if state is None:
        return {"running": False, "processes": []}
    try:
        processes = [
            {"name": p.name, "state": p.state, "pid": p.pid, "since": p.started_at.isoformat()}
            for p in SupervisorProcesses(supervisor_socket(settings)).processes()
        ]
    except ProcessControlError as error:
        processes = [
            {"name": name, "state": "UNKNOWN", "pid": pid, "reason": str(error)}
            for name, pid in state.processes.items()
        ]
    return {"running": True, **state.model_dump(), "processes": processes}


def queue_depths() -> dict[str, int] | str:
    """Return how many messages wait on each queue, or UNKNOWN where the broker does not answer."""
    try:
        return control.queue_depths()
    except BrokerUnavailableError:
        return "UNKNOWN"


def open_incidents() -> dict[str, Any]:
    """Return how many incidents are open, by severity, and the newest ones."""
    with reading() as session:
        by_severity = session.execute(
            select(Incident.severity, func.count()).where(IS_OPEN).group_by(Incident.severity)
        )
        counts = {str(severity): int(count) for severity, count in by_severity}
        newest = session.scalars(
            select(Incident).where(IS_OPEN).order_by(Incident.last_seen_at.desc()).limit(10)
        ).all()
    return {
        "open": sum(counts.values()),
        "by_severity": counts,
        "newest": [
            {
                "id": one.id,
                "label": one.label,
                "state": one.state,
                "component": one.component,
                "message": one.message,
                "occurrences": one.occurrences,
                "last_seen_at": one.last_seen_at.isoformat(),
            }
            for one in newest
        ],
    }
