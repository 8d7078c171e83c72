"""What governance rules and spends for its probe; all of it is undone."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.kernels.governance.policy import Policy, PolicyError, Risk, Verdict, ruled
from homeostat.settings import Mode
from homeostat.store.approvals import Approval, ApprovalState
from homeostat.supervision import ports

_NAME = "kernels.governance"


class Governed(ports.Governance, Protocol):
    """What is asked of the governance under drill."""

    @property
    def mode(self) -> Mode:
        """The mode in force."""

    def policy(self) -> Policy:
        """Return the policy in force."""


def rulings(session: Session, governance: Governed) -> dict[str, JsonValue]:
    """Rule on what nobody knows, what destroys evidence, and what the policy speaks for."""
    rulings: dict[str, JsonValue] = {}
    for name, (action, actor) in _asked(governance.policy()).items():
        decision = governance.decide(session, action=action, risk="low", actor=actor)
        rulings[name] = decision.allowed or decision.needs_approval
    return rulings


def _asked(policy: Policy) -> dict[str, tuple[str, str]]:
    """Return what is ruled on: name → action and actor."""
    return {
        "unknown_passes": ("probe.unknown", _NAME),
        "destroying_passes": ("log.delete", _NAME),
        "spoken_for_passes": _something_approvable(policy),
    }


def expected_rulings(governance: Governed) -> dict[str, JsonValue]:
    """Return what the policy file says, ruled on the file alone without any row."""
    verdicts = {
        name: ruled(
            governance.policy(),
            action=action,
            risk=Risk.LOW,
            actor=actor,
            mode=governance.mode,
            successes=0,
        )[0]
        for name, (action, actor) in _asked(governance.policy()).items()
    }
    return {name: verdict is not Verdict.REFUSE for name, verdict in verdicts.items()}


def life_of_an_approval(session: Session, governance: Governed) -> dict[str, JsonValue]:
    """Ask, approve, use, use again, use for another, use too late."""
    action, actor = _something_approvable(governance.policy())
    subject = new_id()

    def requested() -> Approval:
        return governance.request(
            session, action=action, subject=subject, risk="low", actor=actor, plan=new_id()
        )

    def used(which: Approval, on: str = subject) -> bool:
        return governance.use(session, which.id, action=action, subject=on, actor=actor).allowed

    first, late = requested(), requested()
    observed: dict[str, JsonValue] = {"subject": subject, "used_before_decision": used(first)}
    governance.approve(session, first.id, by=_NAME)
    observed["used_for_another"] = used(first, "another")
    observed["used"] = used(first)
    observed["used_twice"] = used(first)
    governance.approve(session, late.id, by=_NAME)
    session.refresh(late)
    late.expires_at = utcnow() - timedelta(seconds=1)
    session.flush()
    observed["used_after_expiry"] = used(late)
    session.refresh(first)
    observed["use_is_recorded"] = first.state == ApprovalState.USED
    return observed


def _something_approvable(policy: Policy) -> tuple[str, str]:
    """Return an action and an actor that the policy does not refuse; raises PolicyError."""
    for rule in policy.rules:
        action, actor = rule.actions[0].replace("*", "x"), rule.actors[0].replace("*", "x")
        speaking = policy.rule_for(action, actor)
        if speaking is not None and speaking.verdict is not Verdict.REFUSE:
            return action, actor
    raise PolicyError("The governance policy refuses everything; it must allow something.")
