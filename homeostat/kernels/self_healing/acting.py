"""Carrying a playbook out, step by step, each an act under contract."""

from __future__ import annotations

from pydantic import JsonValue

from homeostat import registry
from homeostat.repair.actions import Ground
from homeostat.repair.playbooks import Step
from homeostat.repair.remedy import Cause, Plan, RemedyOutcome, StepEffect
from homeostat.settings import settings
from homeostat.store import database
from homeostat.supervision import contracts, processes
from homeostat.supervision.contracts import Outcome, Terms
from homeostat.supervision.processes import ProcessControl

ACTOR = "kernels.self_healing"


def carry_out(plan: Plan, on: ProcessControl | None = None) -> RemedyOutcome:
    """Carry out the steps in order, each seen to work before the next one begins."""
    evidence: list[dict[str, JsonValue]] = []
    acted = False
    for step in plan.playbook.steps:
        effect = StepEffect(step, _ground(plan.cause, step, on))
        outcome = _under_contract(plan, step, effect)
        acted, seen = acted or effect.acted, effect.seen
        evidence.append({"action": step.action, **seen.model_dump(mode="json")})
        if not seen.passed:
            reason = f"{plan.playbook.name}: {seen.claim} was not observed ({seen.observed})"
            if outcome.reason.startswith("the act failed"):
                reason = f"{reason}; {outcome.reason}"
            return RemedyOutcome(acted, False, plan.playbook.name, reason, evidence)
    return RemedyOutcome(acted, True, plan.playbook.name, "", evidence)


def _under_contract(plan: Plan, step: Step, effect: StepEffect) -> Outcome:
    """Carry the step out; a drill's has no run, and leaves no contract behind."""
    if not plan.run_id:
        return contracts.carry_out(effect, effect.EXPECTED)
    cause = plan.cause
    subject = step.target or cause.target or cause.component
    return contracts.act(Terms(f"remedy.{step.action}", subject, ACTOR, effect.EXPECTED), effect)


def _ground(cause: Cause, step: Step, on: ProcessControl | None) -> Ground:
    socket = processes.supervisor_socket(settings())
    return Ground(
        settings=settings,
        component=cause.target or cause.component,
        step=step,
        actor=ACTOR,
        since=cause.since,
        find=registry.find,
        refresh=_refresh,
        transaction=database.transaction,
        drop_connections=lambda: database.engine().dispose(),
        processes=on or processes.SupervisorProcesses(socket),
        pools=processes.pools,
    )


def _refresh() -> None:
    settings.cache_clear()
    registry.find.cache_clear()
