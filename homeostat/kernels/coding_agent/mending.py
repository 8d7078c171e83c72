"""From an incident to a fix in force, one step at a time.

Each step is one transaction: the repair's row, the incident's compare-and-set with its timeline
row, the decision record and its row in the audit log. The commit stands between two of them and
carries the repair's id, so that a worker that goes on after a crash finds it and makes no second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.errors import HomeostatError
from homeostat.incidents import budgets, lifecycle
from homeostat.incidents.lifecycle import State
from homeostat.kernels.coding_agent import record
from homeostat.kernels.coding_agent.committing import committed, landed_at, undone_by_others
from homeostat.kernels.coding_agent.record import ACTOR
from homeostat.repair import analysis, claims
from homeostat.repair.agent import Apply, Options, RepairOutcome, Status
from homeostat.repair.apply import ApplyError
from homeostat.repair.claims import WORKING
from homeostat.repair.governance import MODEL, Ruling
from homeostat.repair.knowledge import Knowledge
from homeostat.settings import Mode, Settings
from homeostat.store import database, jobs
from homeostat.store.incidents import Incident
from homeostat.store.repair import Repair
from homeostat.supervision.ports import Clarity, Governance

#: The actions that governance rules on: what the evidence rule covers, and everything else.
EVIDENT, OTHER = "fix.apply_evident", "fix.apply"
APPLYING = "applying"
#: The command does not show the incident's failure.
_UNSHOWN = frozenset({Status.HEALTHY, Status.OTHERWISE})
PROVEN = frozenset({Status.PROPOSED.value, Status.WAITING.value})
#: The task that looks at an applied fix, and its queue.
WATCH, QUEUE = "fix_analysis.watch", "fix_analysis"

RepairIt = Callable[[Path, str, Options], RepairOutcome]


class End(StrEnum):
    """How far the loop came with an incident."""

    BUSY = "busy"
    """Another worker holds its repair."""
    NOT_MENDED = "not_mended"
    """No patch was proven: the incident is whose it was before."""
    TAKEN = "taken"
    """A patch was proven: it waits for a person, or it was applied and is watched."""


@dataclass(frozen=True)
class Standing:
    """What came of a round, and why."""

    end: End
    reason: str = ""


@dataclass(frozen=True)
class Mending:
    """The loop's steps; `repair` searches and proves, the ports rule and record."""

    settings: Settings
    repair: RepairIt
    governance: Governance
    clarity: Clarity

    def pursue(self, incident_id: str, repository: Path, command: str) -> Standing:
        """Go on with the repair of an incident from wherever it stands.

        Opens transactions of its own and holds none while it searches and proves.
        """
        with database.transaction() as session:
            incident = lifecycle.find(session, incident_id)
            taken = claims.take(session, incident, repository, command)
        if taken is None:
            return Standing(End.BUSY, "another worker is at its repair")
        try:
            return self._go_on(taken)
        finally:
            with database.transaction() as session:
                claims.release(session.get_one(Repair, taken.id))

    def _go_on(self, repair: Repair) -> Standing:
        if repair.status == WORKING:
            self._prove(repair)
            repair = _again(repair)
        if repair.status not in PROVEN | {APPLYING, Status.APPLIED.value}:
            return Standing(End.NOT_MENDED, repair.story[-1]["what"].partition(": ")[2])
        self._step(repair, State.ANALYSING, self._propose)
        repair = self._step(repair, State.PROPOSED, self._decide)
        if repair.status == APPLYING:
            self.apply(repair)
        return Standing(End.TAKEN, repair.status)

    def _step(
        self, repair: Repair, state: State, take: Callable[[Session, Repair, Incident], None]
    ) -> Repair:
        """Take a step where the incident is in its state; a person may have moved it meanwhile."""
        with database.transaction() as session:
            row = session.get_one(Repair, repair.id, populate_existing=True)
            incident = lifecycle.find(session, row.incident_id)
            if incident.state == state and row.status in PROVEN:
                take(session, row, incident)
            return row

    def _prove(self, repair: Repair) -> None:
        """Search and prove; the row then says what was found, or why nothing was."""
        with database.reading() as session:
            seen = lifecycle.find(session, repair.incident_id).type
            instead = analysis.analyse(session, repair.incident_id).instead
        options = Options(
            apply=Apply.NEVER,
            mode=self.settings.mode,
            knowledge=Knowledge(database.engine()),
            incident_id=repair.incident_id,
            seen=seen,
            repair_id=repair.id,
        )
        repository = Path(repair.repository)
        try:
            outcome = self.repair(repository, repair.command, options)
            if outcome.status in _UNSHOWN and instead:
                outcome = self.repair(repository, instead, options)
            status, reason = outcome.status.value, _why_not(outcome)
        except HomeostatError as error:
            status, reason = "failed", f"the repair could not be carried out: {error}"
        if status not in PROVEN:
            with database.transaction() as session:
                row = session.get_one(Repair, repair.id, populate_existing=True)
                row.status = status
                record.step(session, self.clarity, row, "not_found", rule="proof", outcome=reason)

    def _propose(self, session: Session, repair: Repair, incident: Incident) -> None:
        detail = _told(repair)
        lifecycle.transition(
            session, incident.id, State.PROPOSED, actor=ACTOR,
            expected=(State.ANALYSING,), detail=detail,
        )  # fmt: skip
        verdict = repair.outcome["verdict"]
        record.step(
            session, self.clarity, repair, "proposed", rule=verdict["reason"],
            outcome=f"proven in {repair.outcome['seconds']} s: {repair.outcome['fix']['title']}",
        )  # fmt: skip

    def _decide(self, session: Session, repair: Repair, incident: Incident) -> None:
        """Ask governance, then the budget: what is refused anyway must not count."""
        allowed, action, reason = self._ruling(session, repair)
        if not allowed:
            self._ask_a_person(session, repair, incident, State.AWAITING_APPROVAL, reason)
            return
        if undone_by_others(session, incident, repair):
            # The failure is back because the fix is gone, so the fix is not to blame.
            budgets.close(session, budgets.scopes_of(incident)[0])
        budget = budgets.take(session, incident)
        if not budget.allowed:
            self._ask_a_person(session, repair, incident, State.ESCALATED, budget.reason)
            return
        repair.attempt_id = budget.attempt_id or ""
        self.begin(session, repair, State.PROPOSED, rule=reason, outcome=f"{action} is allowed")

    def _ruling(self, session: Session, repair: Repair) -> tuple[bool, str, str]:
        verdict = repair.outcome["verdict"]
        evident = verdict["decision"] == Ruling.APPLY.value
        action = EVIDENT if evident else OTHER
        if self.settings.mode is not Mode.ENFORCED:
            return False, action, verdict["reason"]
        if not evident and repair.outcome["fix"]["strategy"] == MODEL:
            # What other fixes of the signature have proven says nothing of a model's patch.
            return False, action, verdict["reason"]
        decision = self.governance.decide(
            session,
            action=action,
            risk="low" if evident else "medium",
            actor=ACTOR,
            subject=repair.incident_id,
            signature=repair.replay_key,
        )
        spoken = verdict["reason"] if evident and decision.allowed else decision.reason
        return decision.allowed, action, spoken

    def _ask_a_person(
        self, session: Session, repair: Repair, incident: Incident, state: State, reason: str
    ) -> None:
        detail = {**_told(repair), "reason": reason}
        outcome = f"`homeostat fix approve {repair.id}` applies it"
        try:
            approval = self.governance.request(
                session, action=OTHER, subject=repair.id, risk="medium", actor=ACTOR,
                plan=record.plan_of(repair),
            )  # fmt: skip
        except HomeostatError as error:
            # Where policy refuses, or cannot be read, no approval can get round it.
            state, outcome = State.ESCALATED, str(error)
        else:
            repair.approval_id, repair.status = approval.id, Status.WAITING.value
            detail["approval"] = approval.id
        lifecycle.transition(session, incident.id, state, actor=ACTOR, detail=detail)
        record.step(session, self.clarity, repair, "held_back", rule=reason, outcome=outcome)

    def begin(
        self,
        session: Session,
        repair: Repair,
        *expected: State,
        rule: str,
        outcome: str,
        actor: str = ACTOR,
    ) -> None:
        """Begin to apply a proven patch: from here on a crash is gone on from, not begun anew."""
        repair.status, repair.decided_by, repair.decided_at = APPLYING, actor, utcnow()
        lifecycle.transition(
            session, repair.incident_id, State.APPLYING, actor=actor,
            expected=expected, detail=_told(repair),
        )  # fmt: skip
        record.step(
            session, self.clarity, repair, "approved", rule=rule, outcome=outcome, actor=actor
        )

    def apply(self, repair: Repair) -> Repair:
        """Commit the patch, once, and begin its watch; returns the repair's row.

        Where a file is not what it was when the patch was proven, a person is asked.
        """
        try:
            commit = committed(repair)
        except ApplyError as error:
            with database.transaction() as session:
                return self._failed(session, repair, str(error))
        with database.transaction() as session:
            row = session.get_one(Repair, repair.id, populate_existing=True)
            if row.status != APPLYING:
                return row
            row.status, row.commit, row.applied_at = Status.APPLIED.value, commit, utcnow()
            incident = lifecycle.find(session, row.incident_id)
            row.watch = {**row.watch, "landed_at": landed_at(row).isoformat()}
            if row.attempt_id:
                budgets.note_applied(session, row.attempt_id)
            lifecycle.transition(
                session, incident.id, State.VERIFYING, actor=ACTOR,
                expected=(State.APPLYING,), detail=_told(row),
            )  # fmt: skip
            session.refresh(incident)
            incident.healthy_runs = 0
            record.step(session, self.clarity, row, "applied", rule="an allowed, proven patch",
                        outcome=f"as commit {commit}")  # fmt: skip
            jobs.enqueue(session, WATCH, {"repair_id": row.id}, queue=QUEUE, priority=9,
                         natural_key=f"{WATCH}:{row.id}", due_at=utcnow())  # fmt: skip
            return row

    def _failed(self, session: Session, repair: Repair, reason: str) -> Repair:
        row = session.get_one(Repair, repair.id, populate_existing=True)
        row.status = "failed"
        if row.attempt_id:
            budgets.note_outcome(session, row.attempt_id, "failed")
        lifecycle.transition(
            session, row.incident_id, State.ESCALATED, actor=ACTOR,
            expected=(State.APPLYING,), detail={**_told(row), "reason": reason},
        )  # fmt: skip
        record.step(session, self.clarity, row, "not_applied", rule="preimages", outcome=reason)
        return row


def _again(repair: Repair) -> Repair:
    with database.reading() as session:
        return session.get_one(Repair, repair.id)


def _told(repair: Repair) -> dict[str, JsonValue]:
    fix = repair.outcome.get("fix") or {}
    return {"repair": repair.id, "title": fix.get("title", ""), "commit": repair.commit}


def _why_not(outcome: RepairOutcome) -> str:
    if outcome.status is Status.HEALTHY:
        return f"`{outcome.command}` passes, so it does not show the failure"
    if outcome.status is Status.OTHERWISE:
        return f"`{outcome.command}` fails otherwise than the incident did: {outcome.failure}"
    if outcome.refused:
        first = outcome.refused[0]
        return (
            f"{len(outcome.refused)} candidates were refused; the best, {first.candidate.title!r}, "
            f"because of {first.proof.refusal}"
        )
    return "" if outcome.proven else f"no strategy knows a patch for {outcome.failure}"
