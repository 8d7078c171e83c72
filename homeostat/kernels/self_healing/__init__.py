"""Runs playbooks: asks governance, acts, and believes only what it then observes.

A remedy has three parts, so that no transaction is open while a process restarts: `plan` picks a
playbook, asks, and writes the run's row; `act` carries it out; `settle` records what was seen.
`remedy` does the three in a row, each in a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.kernels.self_healing import acting, consent
from homeostat.kernels.self_healing.aftermath import tell_incident
from homeostat.repair import choice, playbooks
from homeostat.repair.playbooks import ActionName, Playbook, Step
from homeostat.repair.remedy import Cause, Plan, RemedyOutcome, nothing_done
from homeostat.store import controls, database, decisions, jobs, remedies
from homeostat.store.remedies import RemedyRun, RunState
from homeostat.supervision import events
from homeostat.supervision.drill import DrillProcess
from homeostat.supervision.ports import AuditLog, Governance
from homeostat.supervision.processes import ProcessControl

#: A remedy that is older than this and has not ended lost its worker (the hard limit is 600 s).
ABANDONED_AFTER = timedelta(minutes=11)
ACTOR = acting.ACTOR
#: The task that carries out a remedy which somebody asked for.
REMEDY_TASK = "fix_analysis.remedy"


class SelfHealing(Component):
    """The actor behind the playbooks of `homeostat.repair.playbooks`."""

    spec = ComponentSpec(
        name="self_healing",
        wing=Wing.KERNELS,
        tier=3,
        summary="Carries out playbooks and believes only the effects that it observes.",
        needs=("kernels.message_bus", "kernels.immutable_log", "kernels.governance"),
        timeout_s=10.0,
    )

    def remedy(self, cause: Cause) -> RemedyOutcome:
        """Try one fitting playbook after another until one is verified; the last outcome counts.

        The caller must hold no transaction open, because a remedy may take seconds.
        """
        last: RemedyOutcome | None = None
        while True:
            with database.transaction() as session:
                plan = self.plan(session, cause)
            if isinstance(plan, RemedyOutcome):
                if last is None:
                    return plan
                both = f"{last.escalate_reason}; {plan.escalate_reason}"
                return replace(last, escalate_reason=both)
            last = self.act(plan)
            with database.transaction() as session:
                self.settle(session, plan, last)
            if last.verified:
                return last

    def plan(self, session: Session, cause: Cause) -> Plan | RemedyOutcome:
        """Pick the most promising playbook that was not tried yet for this cause.

        Returns an outcome that says why a person is wanted where there is none, where governance
        does not allow it, or where the budget is spent.
        """
        if not self.context.settings.recovery:
            return nothing_done("recovery is switched off (HOMEOSTAT_RECOVERY)")
        chosen = choice.choose(session, cause)
        if isinstance(chosen, str):
            return nothing_done(chosen)
        governance = self._governance()
        asked = consent.ask(governance, session, ACTOR, cause, chosen)
        if asked.needs_approval:
            why = consent.hold(governance, session, ACTOR, cause, chosen, asked)
            return nothing_done(why, chosen.name)
        if not asked.given:
            self._record_refusal(session, cause, chosen, asked.reason)
            return nothing_done(asked.reason, chosen.name)
        run = RemedyRun(playbook=chosen.name, component=cause.component, cause=cause.id)
        run.target = cause.target
        session.add(run)
        session.flush()
        return Plan(run.id, cause, chosen)

    def prospect(self, session: Session, cause: Cause) -> str:
        """Return the playbook that would be tried for this cause, or an empty text."""
        chosen = choice.choose(session, cause)
        return "" if isinstance(chosen, str) else chosen.name

    def _record_refusal(
        self, session: Session, cause: Cause, playbook: Playbook, reason: str
    ) -> None:
        run = RemedyRun(playbook=playbook.name, component=cause.component, cause=cause.id)
        run.state, run.reason, run.ended_at = RunState.REFUSED, reason, utcnow()
        session.add(run)
        self._record(session, cause, playbook, "refused", {"reason": reason})

    def act(self, plan: Plan, on: ProcessControl | None = None) -> RemedyOutcome:
        """Carry out the playbook's steps in order, each verified before the next one.

        Each step is an act under contract: one whose effect is not seen is taken back.
        `on` are the processes to act on; the stack's own where none are given.
        """
        return acting.carry_out(plan, on)

    def settle(self, session: Session, plan: Plan, outcome: RemedyOutcome) -> None:
        """Record what came of it, in the run's row and in the audit log."""
        run = session.get_one(RemedyRun, plan.run_id)
        if run.state != RunState.ACTING:
            return
        run.state = RunState.VERIFIED if outcome.verified else RunState.UNVERIFIED
        run.acted = outcome.acted
        run.ended_at, run.reason = utcnow(), outcome.escalate_reason
        run.evidence = {"steps": list(outcome.evidence)}
        payload: dict[str, JsonValue] = {"run": run.id, "acted": outcome.acted}
        self._record(session, plan.cause, plan.playbook, run.state, payload)
        told: dict[str, JsonValue] = {
            "run": run.id, "playbook": run.playbook, "component": run.component, "state": run.state,
        }  # fmt: skip
        events.tell(session, "remedy.ended", told, publisher=ACTOR, key=run.component)

    def request(
        self, session: Session, playbook: str, *, component: str, asked_by: str, target: str = ""
    ) -> str:
        """Ask for a playbook from outside an incident; the next cycle hands it to a worker."""
        playbooks.named(playbook, choice.offered(component))
        run = RemedyRun(playbook=playbook, component=component, cause=asked_by, target=target)
        run.state = RunState.REQUESTED
        session.add(run)
        session.flush()
        return run.id

    def carry_out(self, run_id: str) -> RemedyOutcome:
        """Do a requested remedy; called by the task, with no transaction open."""
        with database.transaction() as session:
            run = session.get_one(RemedyRun, run_id, with_for_update=True)
            if run.state != RunState.REQUESTED:
                return nothing_done("it was carried out already", run.playbook)
            playbook = playbooks.named(run.playbook, choice.offered(run.component))
            cause = Cause(run.cause, run.component, "", run.started_at, run.target)
            governance = self._governance()
            if refusal := consent.withheld(governance, session, ACTOR, run, cause, playbook):
                return nothing_done(refusal, run.playbook)
            run.state, run.started_at = RunState.ACTING, utcnow()
        plan = Plan(run_id, cause, playbook)
        outcome = self.act(plan)
        with database.transaction() as session:
            self.settle(session, plan, outcome)
            tell_incident(session, ACTOR, cause, outcome)
        return outcome

    def follow_up(self, session: Session) -> dict[str, int]:
        """Set going what people decided: hand over what they approved, end what they did not."""
        decided = consent.follow_up(session)
        _hand_over(session)
        return decided

    def probe(self, session: Session) -> Evidence:
        """Heal a process that was really killed, and see that a remedy that does nothing is
        not taken for one that worked.
        """
        watch = Stopwatch()
        with DrillProcess() as drill:
            killed = drill.kill()
            healed = self.act(_drill_plan(within_s=2.0), on=drill)
            alive = drill.alive() and drill.pid != killed
            drill.kill()
            drill.deaf = True
            idle = self.act(_drill_plan(within_s=0.0), on=drill)
        acted = remedies.acted_since(session, utcnow() - choice.WINDOW)
        return Evidence(
            claim="a killed process is healed, and an act without effect is not believed",
            passed=healed.verified and alive and not idle.verified,
            observed={
                "killed_pid": killed,
                "healed": healed.verified,
                "alive": alive,
                "idle_act_believed": idle.verified,
                "remedies_in_10_min": acted,
            },
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Hand requested remedies to a worker, end abandoned ones, lift switches that ran out."""
        del due_at
        decided = consent.follow_up(session)
        handed = _hand_over(session)
        abandoned = remedies.abandoned(session, ABANDONED_AFTER)
        for run in abandoned:
            run.state, run.ended_at = RunState.UNVERIFIED, utcnow()
            run.reason = "its worker died before the effect was seen"
        lifted = [control.name for control in controls.expired(session)]
        for name in lifted:
            controls.lift(session, name)
            self._log().append(
                session,
                actor=ACTOR,
                action="control.lifted",
                resource=name,
                decision="expired",
                subsystem=self.spec.full_name,
                payload={},
                result="done",
            )
        return CycleResult(
            work=len(handed) + len(abandoned) + len(lifted) + sum(decided.values()),
            observed={
                "handed": len(handed),
                "abandoned": len(abandoned),
                "lifted": list(lifted),
                **decided,
            },
        )

    def _governance(self) -> Governance:
        found: Governance = self.need("kernels.governance")
        return found

    def _log(self) -> AuditLog:
        found: AuditLog = self.need("kernels.immutable_log")
        return found

    def _record(
        self,
        session: Session,
        cause: Cause,
        playbook: Playbook,
        result: str,
        known: Mapping[str, JsonValue],
    ) -> None:
        """Say why this playbook was carried out or not, and which others were made for the case."""
        offered = choice.offered(cause.component)
        others = playbooks.fitting(cause.error_type, cause.component, offered)
        decisions.record(
            session,
            component=ACTOR,
            action=f"remedy.{playbook.name}",
            subject=cause.target or cause.component,
            inputs={"cause": cause.id, "failure": cause.error_type, **known},
            rule=f"{playbook.name} is made for {cause.error_type or 'what was asked for'}",
            alternatives=[
                {"action": other.name, "because": f"{playbook.name} was the more promising one"}
                for other in others
                if other.name != playbook.name
            ],
            outcome=result,
        )


def _hand_over(session: Session) -> list[str]:
    """Hand the requested remedies to a worker, each once; return their ids."""
    return [
        run.id
        for run in remedies.requested(session, limit=20)
        if jobs.enqueue(
            session,
            REMEDY_TASK,
            {"run_id": run.id},
            queue="fix_analysis",
            natural_key=f"remedy:{run.id}",
        )
    ]


def _drill_plan(within_s: float) -> Plan:
    step = Step(ActionName.RESTART_PROCESS, within_s=within_s, tries=1)
    playbook = Playbook("drill", "Restart a process that was killed on purpose.", (), (step,))
    return Plan("", Cause(new_id(), "drill", "Drill", utcnow()), playbook)
