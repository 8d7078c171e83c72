"""What a remedy that had to wait means for the incident that called for it."""

from __future__ import annotations

from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat.incidents import lifecycle
from homeostat.repair.remedy import Cause, RemedyOutcome
from homeostat.store.incidents import Incident


def tell_incident(session: Session, actor: str, cause: Cause, outcome: RemedyOutcome) -> None:
    """Resolve the incident that had to wait for a person, or say in it what came of the remedy."""
    incident_id, _, opening = cause.id.rpartition(":")
    incident = session.get(Incident, incident_id) if incident_id else None
    if incident is None or str(incident.openings) != opening:
        return
    detail: dict[str, JsonValue] = {"playbook": outcome.playbook, "verified": outcome.verified}
    if outcome.verified:
        waited = (lifecycle.State.ESCALATED, lifecycle.State.AWAITING_APPROVAL)
        lifecycle.transition(
            session, incident.id, lifecycle.State.RESOLVED, actor=actor, expected=waited,
            detail={**detail, "evidence": list(outcome.evidence)},
        )  # fmt: skip
    else:
        detail["reason"] = outcome.escalate_reason
        lifecycle.record(session, incident, "remedy not verified", actor=actor, detail=detail)
