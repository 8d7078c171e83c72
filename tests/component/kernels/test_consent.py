"""Remedies that must wait for a person: asked for once, carried out once, never without leave."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError

from homeostat import registry
from homeostat.cli import run as command
from homeostat.clock import utcnow
from homeostat.incidents import lifecycle
from homeostat.incidents.failure import Failure, Source
from homeostat.incidents.lifecycle import State
from homeostat.incidents.recognition import report
from homeostat.kernels.governance import DECIDED
from homeostat.kernels.self_healing import REMEDY_TASK, SelfHealing
from homeostat.repair.remedy import Cause, cause_of
from homeostat.settings import settings
from homeostat.store import approvals, controls, database
from homeostat.store.approvals import Approval, ApprovalState
from homeostat.store.database import transaction
from homeostat.store.jobs import Job
from homeostat.store.remedies import RemedyRun, RunState
from homeostat.supervision import deciding
from tasks import decisions
from tests.conftest import forget_settings

pytestmark = pytest.mark.usefixtures("sqlite_store")

CAUSE = Cause("incident-1:1", "trading.x", "ExchangeDownError", utcnow())


@pytest.fixture
def healer(monkeypatch: pytest.MonkeyPatch) -> SelfHealing:
    monkeypatch.setenv("HOMEOSTAT_MODE", "ADVISORY")
    forget_settings()
    found = registry.find("kernels.self_healing")
    assert isinstance(found, SelfHealing)
    return found


def runs() -> Sequence[RemedyRun]:
    with transaction() as session:
        return session.scalars(select(RemedyRun).order_by(RemedyRun.id)).all()


def all_approvals() -> Sequence[Approval]:
    with transaction() as session:
        return session.scalars(select(Approval).order_by(Approval.id)).all()


def is_paused() -> bool:
    with transaction() as session:
        return controls.is_on(session, controls.TRADING_PAUSED)


def cycle(healer: SelfHealing) -> list[str]:
    """Run one cycle and return the runs that it handed to a worker."""
    with transaction() as session:
        healer.run(session, utcnow())
        jobs = session.scalars(select(Job).where(Job.task == REMEDY_TASK)).all()
        return [str(job.kwargs["run_id"]) for job in jobs]


def approve(approval: Approval) -> None:
    deciding.decide(approval.id, approve=True, by="ada", reason="go")


def test_in_advisory_a_remedy_waits_with_its_plan_and_nothing_is_done(healer: SelfHealing) -> None:
    outcome = healer.remedy(CAUSE)
    (approval,) = all_approvals()
    assert not outcome.acted
    assert approval.id in outcome.escalate_reason
    assert [run.state for run in runs()] == [RunState.WAITING]
    assert approval.state == ApprovalState.PENDING
    assert "pause-trading for trading.x" in approval.plan
    assert "1. pause_trading on trading.x" in approval.plan
    assert cycle(healer) == []
    assert not is_paused()


def test_what_a_person_approves_runs_once_and_is_verified(healer: SelfHealing) -> None:
    healer.remedy(CAUSE)
    (approval,) = all_approvals()
    approve(approval)
    (run_id,) = cycle(healer)
    assert healer.carry_out(run_id).verified
    assert is_paused()
    assert not healer.carry_out(run_id).acted
    assert cycle(healer) == [run_id]
    (run,) = runs()
    assert run.state == RunState.VERIFIED
    assert all_approvals()[0].state == ApprovalState.USED


@pytest.mark.parametrize("approved", [True, False])
def test_a_decision_is_set_going_at_once_and_once(healer: SelfHealing, *, approved: bool) -> None:
    healer.remedy(CAUSE)
    (approval,) = all_approvals()
    sent: list[str] = []
    deciding.decide(approval.id, approve=approved, by="ada", reason="", send=sent.extend)
    with transaction() as session:
        job = session.scalars(select(Job).where(Job.task == DECIDED)).one()
    assert job.id in sent, "the door was given it to send"
    for _ in range(2):
        decisions.decided(**job.kwargs, job_id=job.id)
    (run,) = runs()
    assert run.state == (RunState.REQUESTED if approved else RunState.REFUSED)
    with transaction() as session:
        handed = session.scalars(select(Job.kwargs).where(Job.task == REMEDY_TASK)).all()
    assert handed == ([{"run_id": run.id}] if approved else [])
    assert cycle(healer) == ([run.id] if approved else []), "the cycle has nothing to add"


def test_it_is_asked_for_once_however_often_the_failure_recurs(healer: SelfHealing) -> None:
    for opening in range(1, 4):
        healer.remedy(Cause(f"incident-1:{opening}", "trading.x", "ExchangeDownError", utcnow()))
    assert len(all_approvals()) == 1
    assert [run.cause for run in runs()] == ["incident-1:3"]


def test_what_a_person_rejects_is_never_done(healer: SelfHealing) -> None:
    healer.remedy(CAUSE)
    (approval,) = all_approvals()
    deciding.decide(approval.id, approve=False, by="ada", reason="market hours")
    assert cycle(healer) == []
    (run,) = runs()
    assert (run.state, run.reason) == (RunState.REFUSED, "ada rejected it: market hours")
    assert not healer.carry_out(run.id).acted
    assert not is_paused()


@pytest.mark.parametrize("approved", [False, True])
def test_an_approval_that_ran_out_allows_nothing(healer: SelfHealing, *, approved: bool) -> None:
    healer.remedy(CAUSE)
    (approval,) = all_approvals()
    handed = []
    if approved:
        approve(approval)
        handed = cycle(healer)
    with transaction() as session:
        session.execute(update(Approval).values(expires_at=utcnow() - timedelta(seconds=1)))
    assert cycle(healer) == handed
    (run,) = runs()
    assert not healer.carry_out(run.id).acted
    assert runs()[0].state == RunState.REFUSED
    assert not is_paused()


def test_a_policy_that_refuses_by_now_outweighs_the_approval(
    healer: SelfHealing, monkeypatch: pytest.MonkeyPatch
) -> None:
    healer.remedy(CAUSE)
    approve(all_approvals()[0])
    (run_id,) = cycle(healer)
    policy = settings().state_dir / "policy.toml"
    policy.write_text(
        '[[rules]]\nname = "no more"\nactions = ["remedy.*"]\nverdict = "refuse"\n', "utf-8"
    )
    monkeypatch.setenv("HOMEOSTAT_POLICY_FILE", str(policy))
    forget_settings()
    again = registry.find("kernels.self_healing")
    assert isinstance(again, SelfHealing)
    assert not again.carry_out(run_id).acted
    assert all_approvals()[0].state == ApprovalState.APPROVED
    assert not is_paused()


@pytest.mark.parametrize("mode", ["OFF", "OBSERVE"])
def test_no_approval_is_asked_for_where_the_mode_refuses(
    healer: SelfHealing, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    del healer
    monkeypatch.setenv("HOMEOSTAT_MODE", mode)
    forget_settings()
    found = registry.find("kernels.self_healing")
    assert isinstance(found, SelfHealing)
    assert not found.remedy(CAUSE).acted
    assert all_approvals() == []


def test_what_trading_asks_for_waits_as_well(healer: SelfHealing) -> None:
    with transaction() as session:
        run_id = healer.request(
            session, "pause-trading", component="trading.x", asked_by="trading.self_healing"
        )
    assert not healer.carry_out(run_id).acted
    (approval,) = all_approvals()
    assert approval.subject == run_id
    approve(approval)
    cycle(healer)
    assert healer.carry_out(run_id).verified
    assert is_paused()


def test_a_frozen_system_asks_a_person_too(
    healer: SelfHealing, monkeypatch: pytest.MonkeyPatch
) -> None:
    del healer
    monkeypatch.setenv("HOMEOSTAT_MODE", "ENFORCED")
    forget_settings()
    found = registry.find("kernels.self_healing")
    assert isinstance(found, SelfHealing)
    with transaction() as session:
        controls.set_on(session, "governance.freeze", actor="ada", reason="release")
    assert "frozen" in found.remedy(CAUSE).escalate_reason
    assert len(all_approvals()) == 1
    assert not is_paused()


def test_the_incident_that_waited_is_resolved_by_the_approved_remedy(healer: SelfHealing) -> None:
    failure = Failure.without_frames(
        "ExchangeDownError", "The exchange is away.", source=Source.TASK, component="trading.x"
    )
    with transaction() as session:
        incident = report(session, failure)
        lifecycle.transition(session, incident.id, State.ANALYSING, actor="t")
        cause = cause_of(incident)
    assert not healer.remedy(cause).verified
    with transaction() as session:
        lifecycle.transition(session, incident.id, State.ESCALATED, actor="t")
    approve(all_approvals()[0])
    (run_id,) = cycle(healer)
    assert healer.carry_out(run_id).verified
    with transaction() as session:
        assert lifecycle.find(session, incident.id).state == State.RESOLVED


def test_nothing_is_done_while_the_store_is_away(healer: SelfHealing) -> None:
    healer.remedy(CAUSE)
    approve(all_approvals()[0])
    (run_id,) = cycle(healer)
    path = settings().state_dir / "homeostat.sqlite3"
    aside = path.with_suffix(".aside")
    database.engine().dispose()
    path.rename(aside)
    with pytest.raises(SQLAlchemyError):
        healer.carry_out(run_id)
    database.engine().dispose()
    path.unlink(missing_ok=True)
    aside.rename(path)
    # After the restart the approval still stands, and is spent once.
    assert not is_paused()
    assert healer.carry_out(run_id).verified


def test_a_person_decides_by_command_line(
    healer: SelfHealing, capsys: pytest.CaptureFixture[str]
) -> None:
    healer.remedy(CAUSE)
    assert command(["approval", "list", "-o", "json"]) == 0
    (waiting,) = json.loads(capsys.readouterr().out)["waiting"]
    assert command(["approval", "show", waiting["id"]]) == 0
    assert "1. pause_trading on trading.x" in capsys.readouterr().out
    assert command(["approval", "approve", waiting["id"], "--reason", "go"]) == 0
    with database.reading() as session:
        decided = approvals.of(session, waiting["subject"])
        assert decided is not None
        assert (decided.state, decided.reason) == ("approved", "go")
    assert command(["approval", "approve", waiting["id"]]) == 77
    assert "approved already" in capsys.readouterr().err
    assert command(["approval", "reject", "no-such"]) == 77
