"""Following a plan to its end: what came of it, and who takes over what took too long."""

from __future__ import annotations

from datetime import datetime

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.incidents import lifecycle
from homeostat.incidents.lifecycle import State
from homeostat.store import plans
from homeostat.store.incidents import Incident, TimelineEntry
from homeostat.store.plans import IncidentPlan, PlanState
from homeostat.supervision import events

ACTOR = "kernels.agentic_spine"
#: States in which the system itself still has to act; in the others a person has been asked.
UNDER_WAY = (State.OPEN, State.ANALYSING, State.PROPOSED, State.APPLYING, State.VERIFYING)


def follow_up(session: Session, now: datetime) -> tuple[int, int]:
    """End the plans whose incident is over, and hand over what took too long.

    Returns how many ended well and how many went to a person.
    """
    done = escalated = 0
    for plan in list(plans.open_plans(session)):
        incident = session.get(Incident, plan.incident_id, populate_existing=True)
        if incident is None or incident.resolved_at or incident.openings != plan.opening:
            _end(session, plan, PlanState.DONE, now)
            done += 1
        elif incident.state not in UNDER_WAY:
            _end(session, plan, PlanState.ESCALATED, now)
            escalated += 1
        # A fix that is in force is watched to an end of its own.
        elif plan.due_at < now and incident.state != State.VERIFYING:
            hand_over(session, plan, f"{plan.reason}; {plan.route} did not end it in time")
            escalated += 1
        if plan.ended_at is not None:
            told: dict[str, JsonValue] = {
                "incident": plan.incident_id, "route": plan.route, "state": plan.state,
                "reason": plan.reason,
            }  # fmt: skip
            events.tell(session, "plan.ended", told, publisher=ACTOR, key=plan.incident_id)
    session.flush()
    return done, escalated


def hand_over(session: Session, plan: IncidentPlan, reason: str) -> None:
    """Give the incident to a person, and end the plan."""
    lifecycle.transition(
        session, plan.incident_id, State.ESCALATED, actor=ACTOR, detail={"reason": reason}
    )
    plan.state, plan.reason, plan.ended_at = PlanState.ESCALATED, reason, utcnow()
    session.flush()


def _end(session: Session, plan: IncidentPlan, state: PlanState, now: datetime) -> None:
    plan.state, plan.ended_at = state, now
    if came := _outcome(session, plan):
        plan.reason = f"{plan.reason}; {came}"


def _outcome(session: Session, plan: IncidentPlan) -> str:
    """Return in words what the incident's timeline says came of the plan; empty: nothing yet."""
    ends = (State.RESOLVED, State.ESCALATED, State.AWAITING_APPROVAL)
    last = session.scalar(
        select(TimelineEntry)
        .where(
            TimelineEntry.incident_id == plan.incident_id,
            TimelineEntry.at >= plan.made_at,
            TimelineEntry.to_state.in_(ends),
        )
        .order_by(TimelineEntry.id)
        .limit(1)
    )
    if last is None:
        return ""
    by = last.detail.get("playbook") or last.detail.get("repair") or last.actor
    why = f": {reason}" if (reason := last.detail.get("reason")) else ""
    return f"{last.to_state} by {by}{why}"
