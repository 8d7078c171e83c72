"""A person's word on a proposed fix of an incident: apply it, refuse it, or let it run out."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.errors import HomeostatError
from homeostat.incidents import budgets, lifecycle
from homeostat.incidents.lifecycle import State
from homeostat.kernels.coding_agent import record
from homeostat.kernels.coding_agent.mending import APPLYING, OTHER, PROVEN, QUEUE, Mending
from homeostat.kernels.coding_agent.record import ACTOR
from homeostat.repair import claims, knowledge, story
from homeostat.repair.decisions import NotOpenError
from homeostat.store import database, jobs
from homeostat.store.approvals import Approval, ApprovalState
from homeostat.store.repair import Repair

#: The task that applies what a person approved elsewhere (the API, the pages).
APPLY = "fix_analysis.apply"
_OVER = {
    ApprovalState.REJECTED: "rejected",
    ApprovalState.EXPIRED: "expired",
}


class RefusedError(HomeostatError):
    """Governance does not let the fix be applied, a person's approval or not."""

    exit_code = 77


@dataclass(frozen=True)
class Approvals:
    """What a person's decision sets going."""

    mending: Mending

    def approve(self, repair_id: str, by: str) -> Repair:
        """Apply a proposed fix, exactly as it was proven, and watch it.

        Raises NotOpenError where nothing waits, RefusedError where policy or mode forbid it.
        """
        with database.transaction() as session:
            repair = _open(session, repair_id)
            self._spend(session, repair, by)
            # A person overrules a spent budget, and what they apply is counted all the same.
            charged = budgets.take(session, lifecycle.find(session, repair.incident_id))
            repair.attempt_id = charged.attempt_id or ""
            self.mending.begin(
                session, repair, State.PROPOSED, State.AWAITING_APPROVAL, State.ESCALATED,
                rule="a person's approval", outcome=f"approved by {by}", actor=by,
            )  # fmt: skip
        return self._finish(repair.id)

    def apply(self, repair_id: str, by: str) -> Repair:
        """Apply what was approved elsewhere, or go on where a crash cut it short."""
        with database.reading() as session:
            repair = story.find(session, repair_id)
        if repair.status in PROVEN:
            return self.approve(repair.id, by)
        return self._finish(repair.id)

    def _finish(self, repair_id: str) -> Repair:
        with database.transaction() as session:
            repair = story.find(session, repair_id)
            held = claims.hold(session, repair.claim or "")
        if held is None or held.status != APPLYING:
            return repair
        try:
            return self.mending.apply(held)
        finally:
            with database.transaction() as session:
                claims.release(session.get_one(Repair, repair_id))

    def _spend(self, session: Session, repair: Repair, by: str) -> None:
        governance = self.mending.governance
        approval = session.get(Approval, repair.approval_id) if repair.approval_id else None
        if approval is None or approval.state in _OVER or approval.state == ApprovalState.USED:
            approval = governance.request(
                session, action=OTHER, subject=repair.id, risk="medium", actor=ACTOR,
                plan=record.plan_of(repair),
            )  # fmt: skip
            repair.approval_id = approval.id
        if approval.state == ApprovalState.PENDING:
            governance.approve(session, approval.id, by=by)
        decision = governance.use(
            session, approval.id, action=OTHER, subject=repair.id, actor=ACTOR
        )
        if not decision.allowed:
            raise RefusedError(f"Repair {repair.id} cannot be applied: {decision.reason}.")

    def reject(self, repair_id: str, by: str, reason: str) -> Repair:
        """Refuse a proposed fix; it is not proposed again. Raises NotOpenError."""
        with database.transaction() as session:
            repair = _open(session, repair_id)
            approval = session.get(Approval, repair.approval_id) if repair.approval_id else None
            if approval is not None and approval.state == ApprovalState.PENDING:
                self.mending.governance.reject(session, approval.id, by=by, reason=reason)
            self._refused(session, repair, "rejected", by, reason)
            return repair

    def _refused(self, session: Session, repair: Repair, how: str, by: str, reason: str) -> None:
        repair.status = how
        if how == "rejected":
            knowledge.credit(session, repair, success=False)
        why = f"its fix was {how} by {by}: {reason}" if by else f"its fix was {how}: {reason}"
        lifecycle.transition(
            session, repair.incident_id, State.ESCALATED, actor=by or ACTOR,
            expected=(State.AWAITING_APPROVAL,), detail={"repair": repair.id, "reason": why},
        )  # fmt: skip
        record.step(session, self.mending.clarity, repair, how, rule="a person's word",
                    outcome=why, actor=by or ACTOR)  # fmt: skip

    def follow_up(self, session: Session) -> tuple[int, int, int]:
        """Set going what was decided elsewhere; return how many are applied, ended, and wait."""
        applied = ended = waiting = 0
        for repair in session.scalars(
            select(Repair)
            .where(Repair.status.in_(PROVEN), Repair.approval_id != "")
            .limit(200)
            # Of two that look at once, the second finds what the first has ended no more.
            .with_for_update()
        ).all():
            approval = session.get(Approval, repair.approval_id, populate_existing=True)
            state = approval.state if approval else ApprovalState.EXPIRED
            by, reason = (approval.decided_by, approval.reason) if approval else ("", "")
            if state == ApprovalState.APPROVED:
                applied += _ask_to_apply(session, repair, by, repair.approval_id)
            elif state in _OVER:
                how = _OVER[ApprovalState(state)]
                self._refused(session, repair, how, by, reason or "nobody decided in time")
                ended += 1
            else:
                waiting += 1
        cut_short = session.scalars(select(Repair).where(Repair.status == APPLYING)).all()
        for repair in cut_short:
            if not claims.is_held(repair):
                applied += _ask_to_apply(session, repair, repair.decided_by, repair.id)
        return applied, ended, waiting


def _ask_to_apply(session: Session, repair: Repair, by: str, key: str) -> bool:
    job = jobs.enqueue(
        session, APPLY, {"repair_id": repair.id, "by": by}, queue=QUEUE, priority=10,
        natural_key=f"{APPLY}:{key}",
    )  # fmt: skip
    return job is not None


def _open(session: Session, repair_id: str) -> Repair:
    repair = story.find(session, repair_id)
    if repair.status not in PROVEN:
        raise NotOpenError(f"Repair {repair_id} is {repair.status}; it waits for no decision.")
    return repair
