"""Which action may run by itself, which needs a person, which is refused. Fails closed."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import JsonValue
from sqlalchemy import bindparam, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.errors import HomeostatError
from homeostat.kernels.governance import drill
from homeostat.kernels.governance.policy import (
    Policy,
    PolicyError,
    Risk,
    Rule,
    Verdict,
    load,
    ruled,
)
from homeostat.settings import Mode
from homeostat.store import approvals, controls, jobs, track_records
from homeostat.store.approvals import Approval, ApprovalError
from homeostat.store.audit import AuditRow
from homeostat.supervision import events
from homeostat.supervision.events import undone
from homeostat.supervision.ports import AuditLog, Decision

__all__ = ["Decision", "Governance", "PolicyError"]

#: While this switch is set, nothing acts by itself.
FREEZE = "governance.freeze"
#: The task that sets going what a person decided; whoever asked would find it a cycle later.
DECIDED = "fix_analysis.decided"
_NAME = "kernels.governance"
_ALLOWED = "governance.allow"
_LATELY = select(func.count()).where(
    AuditRow.action == _ALLOWED,
    AuditRow.resource == bindparam("what"),
    AuditRow.at >= bindparam("since"),
)


class Governance(Component):
    """Decides by policy, keeps approvals, and counts what was proven."""

    spec = ComponentSpec(
        name="governance",
        wing=Wing.KERNELS,
        tier=1,
        summary="Says which action may happen by itself, which waits for a person, which never.",
        needs=("kernels.immutable_log", "kernels.secret_manager"),
        timeout_s=10.0,
    )

    @property
    def mode(self) -> Mode:
        """The mode in force."""
        return self.context.settings.mode

    def policy(self) -> Policy:
        """Return the policy in force, read anew; raises PolicyError."""
        return load(self.context.settings.policy_file)

    def decide(
        self,
        session: Session,
        *,
        action: str,
        risk: str,
        actor: str,
        subject: str = "",
        signature: str = "",
    ) -> Decision:
        """Decide on one action and log the decision.

        `signature` names what it would mend, so that proven successes count. Whatever goes wrong
        on the way is a refusal with its reason.
        """
        try:
            decision = self._decided(session, action, risk, actor, signature)
            self._log(session, decision, action=action, risk=risk, actor=actor, subject=subject)
        except (HomeostatError, SQLAlchemyError, ValueError) as error:
            return Decision(False, False, f"refused, because governance failed: {error}")
        return decision

    def _decided(
        self, session: Session, action: str, risk: str, actor: str, signature: str
    ) -> Decision:
        successes = track_records.successes_in_row(session, action, signature) if signature else 0
        verdict, reason, rule = ruled(
            self.policy(),
            action=action,
            risk=Risk(risk),
            actor=actor,
            mode=self.mode,
            successes=successes,
        )
        if verdict is Verdict.ALLOW and rule is not None:
            # Freeze and budget come last: what is not allowed anyway must not count.
            held_back = self._held_back(session, action, actor, rule)
            verdict, reason = held_back or (verdict, reason)
        name = rule.name if rule else ""
        return Decision(verdict is Verdict.ALLOW, verdict is Verdict.APPROVE, reason, name)

    def _held_back(
        self, session: Session, action: str, actor: str, rule: Rule
    ) -> tuple[Verdict, str] | None:
        switches = controls.holding(session)
        if FREEZE in switches:
            return Verdict.APPROVE, "changes are frozen"
        if controls.QUARANTINE + actor in switches:
            return Verdict.APPROVE, f"{actor} is quarantined: what it did of late failed too often"
        if rule.most_per_hour is None:
            return None
        since = utcnow() - timedelta(hours=1)
        lately = session.connection().execute(_LATELY, {"what": action, "since": since}).scalar()
        if (lately or 0) >= rule.most_per_hour:
            return Verdict.APPROVE, f"{action} was allowed {lately} times in the last hour"
        return None

    def _log(
        self, session: Session, decision: Decision, *, action: str, actor: str, **more: str
    ) -> None:
        kind = "approve" if decision.needs_approval else "refuse"
        log: AuditLog = self.need("kernels.immutable_log")
        log.append(
            session,
            actor=actor,
            action=_ALLOWED if decision.allowed else f"governance.{kind}",
            resource=action,
            decision=decision.reason[:64],
            payload={**more, "rule": decision.rule, "mode": str(self.mode)},
        )

    def request(
        self, session: Session, *, action: str, subject: str, risk: str, actor: str, plan: str
    ) -> Approval:
        """Ask a person: write the approval with the diff or plan to look at, and return it.

        An open request for the same action, subject and plan is returned as it stands. Raises
        ApprovalError where policy refuses the action, so that no approval can get round it.
        """
        rule = self.policy().rule_for(action, actor)
        if rule is None or rule.verdict is Verdict.REFUSE:
            raise ApprovalError(f"Policy refuses {action} by {actor}; no approval can allow it.")
        hours = timedelta(hours=self.policy().approval_valid_hours)
        asked = approvals.request(
            session,
            action=action,
            subject=subject,
            risk=Risk(risk),
            requested_by=actor,
            plan=plan,
            valid_for=hours,
        )
        told: dict[str, JsonValue] = {
            "approval": asked.id, "action": action, "subject": subject, "by": actor,
        }  # fmt: skip
        events.tell(
            session, "approval.requested", told, publisher=_NAME, key=asked.id, once=asked.id
        )
        return asked

    def approve(self, session: Session, approval_id: str, *, by: str, reason: str = "") -> None:
        """Approve, once; raises ApprovalError where it is decided, expired or unknown."""
        self._decide_approval(session, approval_id, approve=True, by=by, reason=reason)

    def reject(self, session: Session, approval_id: str, *, by: str, reason: str = "") -> None:
        """Reject, once; raises ApprovalError where it is decided, expired or unknown."""
        self._decide_approval(session, approval_id, approve=False, by=by, reason=reason)

    def _decide_approval(
        self, session: Session, approval_id: str, *, approve: bool, by: str, reason: str
    ) -> None:
        approvals.decide(session, approval_id, approve=approve, by=by, reason=reason)
        log: AuditLog = self.need("kernels.immutable_log")
        log.append(
            session,
            actor=by,
            action="approval.approve" if approve else "approval.reject",
            resource=approval_id,
            decision=reason[:64],
            payload={"reason": reason},
        )
        told: dict[str, JsonValue] = {"approval": approval_id, "approved": approve, "by": by}
        events.tell(session, "approval.decided", told, publisher=_NAME, key=approval_id)
        jobs.enqueue(
            session, DECIDED, {"approval_id": approval_id}, queue="fix_analysis", priority=10,
            natural_key=f"{DECIDED}:{approval_id}",
        )  # fmt: skip

    def use(
        self, session: Session, approval_id: str, *, action: str, subject: str, actor: str
    ) -> Decision:
        """Spend an approval on exactly what was approved; allowed at most once.

        Policy is asked again, because it may have changed since the person decided.
        """
        try:
            rule = self.policy().rule_for(action, actor)
            if rule is None or rule.verdict is Verdict.REFUSE or self.mode is Mode.OFF:
                return Decision(False, False, "policy refuses the action by now")
            spent = approvals.use(session, approval_id, action=action, subject=subject)
            if not spent:
                reason = f"approval {approval_id} is not open for {action} on {subject}"
                return Decision(False, False, reason)
            decision = Decision(True, False, f"approval {approval_id}", rule.name)
            self._log(session, decision, action=action, actor=actor, subject=subject)
        except (HomeostatError, SQLAlchemyError) as error:
            return Decision(False, False, f"refused, because governance failed: {error}")
        return decision

    def probe(self, session: Session) -> Evidence:
        """Rule on three actions and take one approval through its life, then undo it all."""
        watch = Stopwatch()
        with undone(session):
            observed = drill.rulings(session, self) | drill.life_of_an_approval(session, self)
        expected = drill.expected_rulings(self) | {
            "used_before_decision": False,
            "used": self.mode is not Mode.OFF,
            "used_twice": False,
            "used_for_another": False,
            "used_after_expiry": False,
            "use_is_recorded": self.mode is not Mode.OFF,
        }
        return Evidence(
            claim="policy decides as it is written, and an approval is spent once and in time",
            passed=all(observed.get(name) == value for name, value in expected.items()),
            observed={**observed, "expected": expected},
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Read the policy anew and end the approvals whose time has passed."""
        del due_at
        rules = len(self.policy().rules)
        expired = approvals.expire(session)
        waiting = len(approvals.waiting(session))
        return CycleResult(
            work=1 + expired,
            observed={"rules": rules, "expired": expired, "waiting": waiting, "mode": self.mode},
        )
