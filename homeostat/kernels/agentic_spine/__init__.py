"""Plans what happens to each incident: by which route, with whose agreement, until when.

An incident goes to a playbook, to the coding agent, or to a person. The plan is a row, so that
it is followed up whoever dies in between; what is not over in time goes to a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.incidents.failure import Severity
from homeostat.incidents.lifecycle import State
from homeostat.incidents.recognition import ANALYSE, ask_for_analysis
from homeostat.kernels.agentic_spine import following
from homeostat.kernels.agentic_spine.drill import drilled
from homeostat.kernels.agentic_spine.following import ACTOR
from homeostat.repair import analysis
from homeostat.repair.remedy import Cause, cause_of
from homeostat.store import plans
from homeostat.store.incidents import Incident
from homeostat.store.jobs import Job
from homeostat.store.plans import IncidentPlan, PlanState, Route
from homeostat.supervision import events
from homeostat.supervision.events import undone
from homeostat.supervision.ports import Governance

#: How long the system may work on an incident by itself before a person is asked.
PATIENCE = {
    Severity.CRITICAL: timedelta(minutes=15),
    Severity.HIGH: timedelta(minutes=30),
    Severity.MEDIUM: timedelta(hours=2),
    Severity.LOW: timedelta(hours=8),
}
#: Incidents that one cycle plans for, and memories that are looked at for each.
MOST_A_CYCLE = 50
RECALLED = 3


class Memory(Protocol):
    """What is asked of `kernels.memory_fusion`."""

    def recall(self, session: Session, text: str, *, signature: str, most: int) -> Sequence[Any]:
        """Return recollections, each with `memory`, `likeness` and `sources`."""


class Healing(Protocol):
    """What is asked of `kernels.self_healing`."""

    def prospect(self, session: Session, cause: Cause) -> str:
        """Return the playbook that would be tried, or an empty text."""


class AgenticSpine(Component):
    """Makes a plan for each opening of an incident, and follows it to its end."""

    spec = ComponentSpec(
        name="agentic_spine",
        wing=Wing.KERNELS,
        tier=5,
        summary="Routes each incident to a playbook, the coding agent or a person, and follows up.",
        needs=("kernels.self_healing", "kernels.governance", "kernels.memory_fusion"),
        timeout_s=15.0,
    )

    def plan(self, session: Session, incident: Incident, position: int = 0) -> IncidentPlan:
        """Return the plan of the incident's present opening, made where there is none.

        The analysis asks for it before it tries anything, and goes that way. A plan whose route
        is a person hands the incident over at once.
        """
        known = plans.plan_of(session, incident.id, incident.openings)
        if known is not None:
            return known
        recalled = self._recall(session, incident)
        route, reason = self._route(session, incident, recalled)
        cosigner = ""
        if route is not Route.PERSON:
            route, reason, cosigner = self._cosigned(session, incident, route, reason)
        now = utcnow()
        plan = IncidentPlan(
            incident_id=incident.id,
            opening=incident.openings,
            route=route,
            state=PlanState.DISPATCHED,
            position=position,
            cosigned_by=cosigner,
            reason=reason,
            recalled=recalled,
            made_at=now,
            due_at=now + PATIENCE[Severity(incident.severity)],
        )
        try:
            with session.begin_nested():
                session.add(plan)
        except IntegrityError:
            # The analysis and this kernel's cycle looked at the same moment: one of them wrote it.
            known = plans.plan_of(session, incident.id, incident.openings)
            if known is None:
                raise
            return known
        told: dict[str, JsonValue] = {
            "incident": incident.id, "route": plan.route, "reason": plan.reason,
        }  # fmt: skip
        events.tell(session, "plan.made", told, publisher=ACTOR, key=incident.id)
        self._dispatch(session, incident, plan)
        return plan

    def _recall(self, session: Session, incident: Incident) -> list[dict[str, Any]]:
        memory: Memory = self.need("kernels.memory_fusion")
        text = f"{incident.component} {incident.type} {incident.message}"
        found = memory.recall(session, text, signature=incident.group_key, most=RECALLED)
        return [
            {
                "memory": one.memory.id,
                "same": one.memory.signature == incident.group_key,
                "likeness": round(one.likeness, 3),
                "worked": one.memory.worked,
                "failed": one.memory.failed,
            }
            for one in found
        ]

    def _route(
        self, session: Session, incident: Incident, recalled: list[dict[str, Any]]
    ) -> tuple[Route, str]:
        healing: Healing = self.need("kernels.self_healing")
        playbook = healing.prospect(session, cause_of(incident))
        mending = analysis.prospect_of(session, incident)
        if mending.route is analysis.Route.REPLAY:
            return Route.CODING_AGENT, mending.reason
        hopeless = any(one["same"] and one["failed"] > one["worked"] + 1 for one in recalled)
        if playbook and not hopeless:
            return Route.PLAYBOOK, f"playbook {playbook} is made for {incident.type}"
        if mending.route is analysis.Route.CODING_AGENT:
            return Route.CODING_AGENT, mending.reason
        if playbook:
            return Route.PERSON, f"{playbook} did not last the last times this happened"
        return Route.PERSON, f"no playbook is made for {incident.type}, and {mending.reason}"

    def _cosigned(
        self, session: Session, incident: Incident, route: Route, reason: str
    ) -> tuple[Route, str, str]:
        governance: Governance = self.need("kernels.governance")
        decision = governance.decide(
            session, action=f"plan.{route}", risk="low", actor=ACTOR, subject=incident.id
        )
        if decision.allowed:
            return route, reason, "kernels.governance"
        if decision.needs_approval:
            # The way only leads to proposals: each of its acts asks for an approval of its own.
            return route, f"{reason}; {decision.reason}", "kernels.governance"
        return Route.PERSON, f"governance does not agree to {route}: {decision.reason}", ""

    def _agrees(self, session: Session, incident: Incident) -> bool:
        return bool(self._cosigned(session, incident, Route.PLAYBOOK, "")[2])

    def _dispatch(self, session: Session, incident: Incident, plan: IncidentPlan) -> None:
        if plan.route == Route.PERSON:
            following.hand_over(session, plan, plan.reason)
            return
        ask_for_analysis(session, incident)

    def follow_up(self, session: Session, now: datetime) -> tuple[int, int]:
        """End the plans whose incident is over, and hand over what took too long.

        Returns how many ended well and how many went to a person.
        """
        return following.follow_up(session, now)

    def probe(self, session: Session) -> Evidence:
        """Plan for three made-up incidents of three kinds, and undo it all."""
        watch = Stopwatch()
        with undone(session):
            kinds = {
                Route.PLAYBOOK: drilled(session, "StoreUnavailableError", in_code=False),
                Route.CODING_AGENT: drilled(session, "DrillError", in_code=True),
                Route.PERSON: drilled(session, "DrillError", in_code=False),
            }
            for incident in kinds.values():
                self.plan(session, incident)
            made = {
                wanted: plans.plan_of(session, incident.id, incident.openings)
                for wanted, incident in kinds.items()
            }
            routes = {wanted: plan.route if plan else "none" for wanted, plan in made.items()}
            signed = [
                plan.cosigned_by for plan in made.values() if plan and plan.route != Route.PERSON
            ]
            asked = session.scalar(
                select(Job.id).where(
                    Job.natural_key == f"{ANALYSE}:{kinds[Route.PLAYBOOK].id}:1",
                )
            )
            person = session.get_one(Incident, kinds[Route.PERSON].id, populate_existing=True).state
            agreed = self._agrees(session, kinds[Route.PLAYBOOK])
        # In a mode in which nothing runs by itself, all three belong to a person.
        expected = {wanted: wanted if agreed else Route.PERSON for wanted in kinds}
        if self.context.settings.repository is None:
            expected[Route.CODING_AGENT] = Route.PERSON
        return Evidence(
            claim="a known failure goes to its playbook, one in the code to the coding agent where "
            "it may mend a repository, and what nobody can mend to a person; what runs by itself "
            "has governance's agreement",
            passed=routes == expected
            and all(signed)
            and (asked is not None) is agreed
            and person == State.ESCALATED,
            observed={
                "routes": {str(wanted): str(route) for wanted, route in routes.items()},
                "cosigned": len([name for name in signed if name]),
                "analysis_asked_for": asked is not None,
                "person_asked": person == State.ESCALATED,
                "governance_agrees": agreed,
            },
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Plan for what is open and has no plan, the most severe first, and follow up the rest."""
        planned = 0
        waiting = session.scalars(
            select(Incident)
            .where(Incident.state == State.OPEN, Incident.suppressed_by.is_(None))
            .order_by(Incident.opened_at)
            .limit(MOST_A_CYCLE)
        ).all()
        urgent = sorted(waiting, key=lambda incident: -Severity(incident.severity).priority)
        for position, incident in enumerate(urgent):
            if plans.plan_of(session, incident.id, incident.openings) is None:
                self.plan(session, incident, position)
                planned += 1
        done, escalated = self.follow_up(session, due_at)
        return CycleResult(
            work=planned + done + escalated,
            observed={"planned": planned, "done": done, "escalated": escalated},
        )
