"""Whether a playbook may be carried out: by policy, by a person's word, or not at all."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.repair import choice
from homeostat.repair.playbooks import Playbook
from homeostat.repair.remedy import Cause
from homeostat.store import approvals, remedies
from homeostat.store.approvals import Approval, ApprovalError, ApprovalState
from homeostat.store.remedies import RemedyRun, RunState
from homeostat.supervision.ports import Governance


@dataclass(frozen=True)
class Consent:
    """What governance says of a playbook; `needs_approval` names the action to be approved."""

    given: bool
    reason: str = ""
    needs_approval: str = ""


def ask(
    governance: Governance, session: Session, actor: str, cause: Cause, playbook: Playbook
) -> Consent:
    """Ask about each step; one that is refused outweighs any that a person may approve."""
    waits: Consent | None = None
    for step in playbook.steps:
        action = f"remedy.{step.action}"
        decision = governance.decide(
            session,
            action=action,
            risk=playbook.risk,
            actor=actor,
            subject=step.target or cause.target or cause.component,
        )
        if decision.allowed:
            continue
        reason = f"governance does not allow {step.action}: {decision.reason}"
        if not decision.needs_approval:
            return Consent(False, reason)
        waits = waits or Consent(False, reason, action)
    if waits is not None:
        return waits
    # The budget is asked last, because what governance refused was not an act.
    over = choice.over_budget(session, cause.component)
    return Consent(not over, over)


def withheld(
    governance: Governance,
    session: Session,
    actor: str,
    run: RemedyRun,
    cause: Cause,
    playbook: Playbook,
) -> str:
    """Return why a run may not begin now, empty where it may; an approval is spent here, once."""
    asked = ask(governance, session, actor, cause, playbook)
    if asked.given:
        return ""
    reason = asked.reason
    if asked.needs_approval:
        if approvals.of(session, run.id) is None:
            return hold(governance, session, actor, cause, playbook, asked, run)
        reason = _spend(governance, session, actor, run)
        if not reason:
            return ""
    run.state, run.reason, run.ended_at = RunState.REFUSED, reason, utcnow()
    return reason


def hold(
    governance: Governance,
    session: Session,
    actor: str,
    cause: Cause,
    playbook: Playbook,
    needed: Consent,
    run: RemedyRun | None = None,
) -> str:
    """Let the remedy wait for an approval with the plan to look at; return why, in words.

    One run waits for one playbook on one target, however often its failure recurs.
    """
    run = run or _waiting_run(session, playbook.name, cause)
    if run is None:
        run = RemedyRun(playbook=playbook.name, component=cause.component, target=cause.target)
        session.add(run)
    run.cause, run.state = cause.id, RunState.WAITING
    session.flush()
    approval = approvals.of(session, run.id)
    if approval is None or approval.expires_at <= utcnow():
        try:
            approval = governance.request(
                session,
                action=needed.needs_approval,
                subject=run.id,
                risk=playbook.risk,
                actor=actor,
                plan=plan_in_words(run, playbook),
            )
        except ApprovalError as error:
            run.state, run.reason, run.ended_at = RunState.REFUSED, str(error), utcnow()
            return str(error)
    run.reason = f"it waits for the approval {approval.id}"
    return f"{needed.reason}; approve {approval.id} to have {playbook.name} carried out"


def plan_in_words(run: RemedyRun, playbook: Playbook) -> str:
    """Return what would be done, for a person to look at before they approve."""
    on = run.target or run.component
    steps = [
        f"{number}. {step.action} on {step.target or on}; its effect must be seen within "
        f"{step.within_s:g} s, {step.tries} tries"
        for number, step in enumerate(playbook.steps, 1)
    ]
    head = f"{playbook.name} for {run.component} (because of {run.cause}): {playbook.summary}"
    return "\n".join([head, *steps])


def _waiting_run(session: Session, playbook: str, cause: Cause) -> RemedyRun | None:
    """Return the run that waits for a person to approve this very remedy, if there is one."""
    for run in remedies.waiting(session):
        same = (run.playbook, run.component, run.target)
        if same == (playbook, cause.component, cause.target):
            return run
    return None


def _spend(governance: Governance, session: Session, actor: str, run: RemedyRun) -> str:
    approval = approvals.of(session, run.id)
    if approval is None:
        return "it needs an approval, and none was asked for"
    if over := choice.over_budget(session, run.component):
        return over
    used = governance.use(session, approval.id, action=approval.action, subject=run.id, actor=actor)
    return "" if used.allowed else used.reason


def follow_up(session: Session) -> dict[str, int]:
    """Free the waiting runs that a person approved, and end those that nobody will."""
    counts = {"approved": 0, "ended": 0}
    for run in remedies.waiting(session):
        approval = approvals.of(session, run.id)
        if approval is not None and approval.state == ApprovalState.APPROVED:
            run.state = RunState.REQUESTED
            counts["approved"] += 1
        elif reason := _why_ended(approval):
            run.state, run.reason, run.ended_at = RunState.REFUSED, reason, utcnow()
            counts["ended"] += 1
    session.flush()
    return counts


def _why_ended(approval: Approval | None) -> str:
    if approval is None:
        return "its approval is gone"
    if approval.state == ApprovalState.REJECTED:
        return f"{approval.decided_by} rejected it: {approval.reason or 'without a reason'}"
    if approval.state == ApprovalState.EXPIRED or approval.expires_at <= utcnow():
        return f"nobody approved it until {approval.expires_at:%Y-%m-%d %H:%M} UTC"
    return ""
