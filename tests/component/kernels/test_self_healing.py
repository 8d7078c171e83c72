from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.component import Evidence
from homeostat.kernels.self_healing import ABANDONED_AFTER, REMEDY_TASK, SelfHealing
from homeostat.repair import actions, choice, playbooks
from homeostat.repair.playbooks import ActionName, Playbook, Step
from homeostat.repair.remedy import Cause, Plan, RemedyOutcome
from homeostat.settings import settings
from homeostat.store import audit, controls
from homeostat.store.checks import CheckRun
from homeostat.store.contracts import ActionContract, ContractState
from homeostat.store.database import reading, transaction
from homeostat.store.embedded import EmbeddedServer
from homeostat.store.incidents import Incident
from homeostat.store.jobs import Job
from homeostat.store.remedies import RemedyRun, RunState
from homeostat.store.trading import ModelRecord
from homeostat.supervision import poison, processes
from homeostat.supervision.drill import DrillProcess
from homeostat.testing import check_contract
from tests.conftest import forget_settings

pytestmark = pytest.mark.usefixtures("sqlite_store")


@pytest.fixture
def healer() -> SelfHealing:
    found = registry.find("kernels.self_healing")
    assert isinstance(found, SelfHealing)
    return found


@pytest.fixture
def drill() -> Iterator[DrillProcess]:
    with DrillProcess() as process:
        yield process


def cause(error_type: str, component: str = "kernels.x", number: int = 1) -> Cause:
    return Cause(f"incident-{number}:1", component, error_type, utcnow())


def plan_of(action: ActionName, *, target: str = "", tries: int = 1, within_s: float = 1.0) -> Plan:
    step = Step(action, target=target, tries=tries, within_s=within_s, backoff_s=0.01)
    return Plan("", cause("X"), Playbook("p", "A playbook.", (), (step,)))


def runs() -> list[RemedyRun]:
    with transaction() as session:
        return [*session.scalars(select(RemedyRun).order_by(RemedyRun.id))]


@pytest.mark.usefixtures("store")
def test_it_keeps_the_contract(healer: SelfHealing) -> None:
    with transaction() as session:
        check_contract(healer, session)


# What is verified, and what is not.


def test_a_killed_process_is_restarted_under_a_new_pid(
    healer: SelfHealing, drill: DrillProcess
) -> None:
    dead = drill.kill()
    plan = plan_of(ActionName.RESTART_PROCESS, target="drill")
    outcome = healer.act(plan, on=drill)
    assert outcome.acted
    assert outcome.verified
    assert drill.alive()
    assert drill.pid != dead


def test_a_restart_that_did_nothing_did_not_happen(
    healer: SelfHealing, drill: DrillProcess
) -> None:
    drill.kill()
    drill.deaf = True
    plan = plan_of(ActionName.RESTART_PROCESS, target="drill", tries=2, within_s=0.1)
    outcome = healer.act(plan, on=drill)
    assert outcome.acted
    assert not outcome.verified
    assert "was not observed" in outcome.escalate_reason


def test_a_process_that_came_up_after_the_failure_is_left_alone(
    healer: SelfHealing, drill: DrillProcess
) -> None:
    before = drill.pid
    outcome = healer.act(plan_of(ActionName.RESTART_PROCESS, target="drill"), on=drill)
    assert not outcome.acted
    assert outcome.verified
    assert drill.pid == before


def test_a_process_that_hangs_since_before_the_failure_is_restarted(
    healer: SelfHealing, drill: DrillProcess
) -> None:
    before = drill.pid
    since = utcnow() + timedelta(seconds=2)
    step = Step(ActionName.RESTART_PROCESS, target="drill", tries=1, within_s=0.0)
    plan = Plan("", Cause("i:1", "x", "X", since), Playbook("p", "P.", (), (step,)))
    assert healer.act(plan, on=drill).acted
    assert drill.pid != before


def test_a_process_nobody_knows_is_not_restarted(healer: SelfHealing, drill: DrillProcess) -> None:
    plan = plan_of(ActionName.RESTART_PROCESS, target="nobody", within_s=0.0)
    outcome = healer.act(plan, on=drill)
    assert (outcome.acted, outcome.verified) == (False, False)
    assert "nobody" in outcome.escalate_reason


def test_a_step_that_is_not_verified_stops_the_playbook(
    healer: SelfHealing, drill: DrillProcess
) -> None:
    drill.kill()
    drill.deaf = True
    steps = (
        Step(ActionName.RESTART_PROCESS, target="drill", tries=1, within_s=0.0),
        Step(ActionName.PAUSE_TRADING),
    )
    outcome = healer.act(Plan("", cause("X"), Playbook("p", "P.", (), steps)), on=drill)
    assert len(outcome.evidence) == 1
    with transaction() as session:
        assert not controls.is_on(session, controls.TRADING_PAUSED)


def test_a_component_whose_probe_fails_is_not_healed_by_making_it_anew(
    healer: SelfHealing, monkeypatch: pytest.MonkeyPatch
) -> None:
    librarian = registry.load("kernels.librarian")

    def probe(self: object, session: Session) -> Evidence:
        del self, session
        return Evidence(claim="it works", passed=False, observed={"planted": True})

    plan = plan_of(ActionName.RESTART_COMPONENT, target="kernels.librarian", within_s=0.2)
    assert healer.act(plan).verified
    monkeypatch.setattr(librarian, "probe", probe)
    assert not healer.act(plan).verified


def test_stale_evidence_proves_no_restart(
    healer: SelfHealing, monkeypatch: pytest.MonkeyPatch
) -> None:
    with transaction() as session:
        old = registry.find("kernels.librarian").probe(session)
    monkeypatch.setattr(registry.load("kernels.librarian"), "probe", lambda _self, _session: old)
    plan = plan_of(ActionName.RESTART_COMPONENT, target="kernels.librarian", within_s=0.2)
    assert old.passed
    assert not healer.act(plan).verified


def test_trading_is_paused_until_its_end_and_lifted_by_the_cycle(healer: SelfHealing) -> None:
    outcome = healer.remedy(cause("ExchangeDownError", "trading.universe_os"))
    assert (outcome.verified, outcome.playbook) == (True, "pause-trading")
    with transaction() as session:
        assert controls.is_on(session, controls.TRADING_PAUSED)
        session.get_one(controls.Control, controls.TRADING_PAUSED).until = utcnow()
    with transaction() as session:
        assert not controls.is_on(session, controls.TRADING_PAUSED)
        assert healer.run(session, utcnow()).observed["lifted"] == [controls.TRADING_PAUSED]
        assert controls.all_set(session) == []


def test_a_model_is_disabled_by_its_name_and_only_where_it_exists(healer: SelfHealing) -> None:
    outcome = healer.act(plan_of(ActionName.DISABLE_MODEL, target="lgbm-7", within_s=0.0))
    assert not outcome.verified
    assert "No model is named" in outcome.escalate_reason
    with transaction() as session:
        session.add(ModelRecord(model="lgbm-7"))
        run = healer.request(
            session, "disable-model", component="trading.x", asked_by="t", target="lgbm-7"
        )
    assert healer.carry_out(run).verified
    with transaction() as session:
        assert controls.is_on(session, "model.disabled:lgbm-7")


class Pool:
    """A pool whose size is what it was told, unless it is deaf."""

    def __init__(self, *, deaf: bool = False) -> None:
        self.children = 2
        self.deaf = deaf

    def size(self) -> int:
        return self.children

    def grow(self, by: int) -> None:
        self.children += 0 if self.deaf else by

    def shrink(self, by: int) -> None:
        self.children -= by


@pytest.mark.parametrize("deaf", [False, True])
def test_a_pool_has_grown_only_where_it_is_seen_to_be_larger(
    healer: SelfHealing, monkeypatch: pytest.MonkeyPatch, *, deaf: bool
) -> None:
    monkeypatch.setattr(processes._Port, "pools", Pool(deaf=deaf))
    assert healer.act(plan_of(ActionName.GROW_POOL, within_s=0.1)).verified is not deaf


class Sluggish(Pool):
    """It tells what it has grown to from the third look on, when its growth was given up."""

    looks = 0

    def size(self) -> int:
        self.looks += 1
        return self.children if self.looks > 2 else 2


def contracts() -> list[tuple[str, str, str]]:
    with transaction() as session:
        rows = session.scalars(select(ActionContract).order_by(ActionContract.id))
        return [(row.kind, row.subject, row.state) for row in rows]


def begun(*steps: Step) -> Plan:
    """Return the plan of a run that has begun, as `plan` makes it."""
    with transaction() as session:
        run = RemedyRun(playbook="p", component="kernels.x", cause="i:1")
        session.add(run)
        session.flush()
        return Plan(run.id, cause("X"), Playbook("p", "A playbook.", (), steps))


def test_each_step_of_a_playbook_is_an_act_under_contract(healer: SelfHealing) -> None:
    outcome = healer.act(begun(Step(ActionName.PAUSE_TRADING)))
    assert outcome.verified
    assert contracts() == [("remedy.pause_trading", "kernels.x", ContractState.HELD)]
    with transaction() as session:
        assert [row.action for row in audit.rows_after(session, 0)] == ["contract.held"]


def test_a_switch_that_does_not_hold_is_set_back_to_what_it_was(healer: SelfHealing) -> None:
    """A pause of no minutes is over at once; the profile that a person set stands again."""
    until = utcnow() + timedelta(hours=1)
    with transaction() as session:
        controls.set_on(session, controls.SAFE_PROFILE, actor="ann", reason="why", until=until)
    over = {"minutes": 0}
    steps = [
        Step(action, parameters=over, within_s=0.0, tries=1)
        for action in (ActionName.SAFE_PROFILE, ActionName.PAUSE_TRADING)
    ]
    for step in steps:
        assert not healer.act(begun(step)).verified
    with transaction() as session:
        (kept,) = controls.all_set(session)
        assert (kept.name, kept.actor, kept.reason) == (controls.SAFE_PROFILE, "ann", "why")
        assert kept.until == until
    assert [state for _, _, state in contracts()] == [ContractState.ROLLED_BACK] * 2


def test_a_pool_whose_growth_was_not_seen_is_made_as_small_as_it_was(
    healer: SelfHealing, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Sluggish()
    monkeypatch.setattr(processes._Port, "pools", pool)
    outcome = healer.act(begun(Step(ActionName.GROW_POOL, within_s=0.0, tries=1)))
    assert not outcome.verified
    assert pool.children == 2
    assert contracts() == [("remedy.grow_pool", "kernels.x", ContractState.ROLLED_BACK)]


def test_a_restart_that_was_not_seen_cannot_be_taken_back_and_says_so(
    healer: SelfHealing, drill: DrillProcess
) -> None:
    drill.kill()
    drill.deaf = True
    step = Step(ActionName.RESTART_PROCESS, target="drill", within_s=0.0, tries=1)
    assert not healer.act(begun(step), on=drill).verified
    assert contracts() == [("remedy.restart_process", "drill", ContractState.BROKEN)]
    step = Step(ActionName.RESTART_PROCESS, target="nobody", within_s=0.0, tries=1)
    assert not healer.act(begun(step), on=drill).verified
    assert contracts()[1] == ("remedy.restart_process", "nobody", ContractState.ROLLED_BACK)


def test_settings_that_cannot_be_read_are_not_reloaded(
    healer: SelfHealing, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(ActionName.RELOAD_CONFIG, within_s=0.1)
    assert healer.act(plan).verified
    monkeypatch.setenv("HOMEOSTAT_MODE", "NONSENSE")
    outcome = healer.act(plan)
    monkeypatch.delenv("HOMEOSTAT_MODE")
    forget_settings()
    assert not outcome.verified
    assert "HOMEOSTAT_MODE" in outcome.escalate_reason


def test_a_reconnect_is_verified_by_database_and_redis(healer: SelfHealing) -> None:
    plan = plan_of(ActionName.RECONNECT, within_s=0.1)
    assert not healer.act(plan).verified
    with EmbeddedServer(settings()):
        assert healer.act(plan).verified


def test_poison_is_moved_aside_whole_and_what_is_sound_stays(healer: SelfHealing) -> None:
    sound = {
        "body": "W1tdLCB7fSwge31d",
        "headers": {"task": "upkeep.sweep", "id": "1", "timelimit": [None, None]},
        "properties": {
            "body_encoding": "base64",
            "delivery_tag": "1",
            "delivery_info": {"exchange": "", "routing_key": "checks"},
        },
    }
    bad = [b"no json", json.dumps(sound | {"body": "%%%"}).encode(), b"{}"]
    plan = plan_of(ActionName.PURGE_POISON, within_s=0.1)
    with EmbeddedServer(settings()), poison.connect(settings()) as client:
        assert not healer.act(plan).verified, "where no poison is found, none was purged"
        client.rpush("checks", json.dumps(sound), *bad)
        client.rpush("checks\x06\x169", b"\xff\xfe")
        assert healer.act(plan).verified
        assert [json.loads(raw) for raw in client.lrange("checks", 0, -1)] == [sound]
        quarantined = client.lrange(poison.QUARANTINE, 0, -1)
        assert sorted(quarantined) == sorted([*bad, b"\xff\xfe"])
    with reading() as session:
        counted = session.scalars(select(Incident).where(Incident.type == "PoisonMessageError"))
        assert sum(one.occurrences for one in counted) == len(quarantined)


def test_a_disk_that_runs_full_is_given_room_and_the_room_is_measured(
    healer: SelfHealing, state_dir: Path
) -> None:
    """What has its time behind it goes; what has not stays."""
    logs = state_dir / "logs"
    logs.mkdir(parents=True)
    (logs / "worker.log").write_text("now")
    (logs / "worker.log.1").write_bytes(b"x" * 2_000_000)
    old, young = utcnow() - timedelta(days=8), utcnow() - timedelta(days=1)
    with transaction() as session:
        for due in (old, young):
            run = CheckRun(entry="x", component="x", due_at=due, started_at=due)
            run.ended_at, run.passed = due, True
            session.add(run)
    asked = cause("ResourceForecast", "kernels.infrastructure_manager")
    outcome = healer.remedy(asked)
    assert outcome.verified, outcome
    assert outcome.playbook == "free-space"
    seen = outcome.evidence[0]["observed"]
    assert isinstance(seen, dict)
    assert int(str(seen["used_bytes_before"])) - int(str(seen["used_bytes"])) >= 1_900_000
    assert [path.name for path in logs.iterdir()] == ["worker.log"]
    with transaction() as session:
        assert [run.due_at for run in session.scalars(select(CheckRun))] == [young]
    again = healer.remedy(cause("ResourceForecast", "kernels.infrastructure_manager", 2))
    assert not again.verified, "where nothing is left to free, a person has to make room"
    assert "less room" in again.escalate_reason


# Which playbook, how often, and with whose leave.


def test_every_action_of_every_playbook_can_be_carried_out() -> None:
    used = {step.action for playbook in playbooks.SHIPPED for step in playbook.steps}
    assert used <= set(actions.ACTIONS)
    assert set(actions.ACTIONS) == set(ActionName)


@pytest.mark.parametrize("error_type", ["TypeError", "ImportError", "builtins.KeyError", "X"])
def test_a_failure_in_the_code_has_no_playbook(healer: SelfHealing, error_type: str) -> None:
    outcome = healer.remedy(cause(error_type))
    assert not outcome.acted
    assert "no playbook fits" in outcome.escalate_reason
    assert runs() == []


def test_a_playbook_that_did_not_help_is_not_tried_again_for_the_same_opening(
    healer: SelfHealing,
) -> None:
    first = healer.remedy(cause("ProbeFailedError", "kernels.no_such"))
    again = healer.remedy(cause("ProbeFailedError", "kernels.no_such"))
    assert not first.verified
    assert not again.acted
    assert "was tried" in again.escalate_reason
    assert [run.state for run in runs()] == [RunState.UNVERIFIED]


def test_a_second_playbook_is_tried_where_the_first_does_not_help(healer: SelfHealing) -> None:
    with EmbeddedServer(settings()):
        outcome = healer.remedy(cause("CrashLoopError", "workers.main"))
    assert [run.playbook for run in runs()] == ["purge-poison", "restart-and-watch"]
    assert not outcome.verified
    assert not any(run.acted for run in runs())


def test_a_restart_storm_is_stopped_by_the_budget(healer: SelfHealing) -> None:
    outcomes = [
        healer.remedy(cause("ExchangeDownError", "trading.x", number))
        for number in range(choice.MOST_PER_COMPONENT + 2)
    ]
    assert [outcome.verified for outcome in outcomes].count(True) == choice.MOST_PER_COMPONENT
    assert "did not last" in outcomes[-1].escalate_reason
    assert healer.remedy(cause("ExchangeDownError", "trading.y", 99)).verified, (
        "another has its own"
    )
    states = [run.state for run in runs()]
    assert states.count(RunState.REFUSED) == 2


@pytest.mark.parametrize("mode", ["OFF", "OBSERVE", "ADVISORY"])
def test_nothing_is_done_that_governance_does_not_allow(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("HOMEOSTAT_MODE", mode)
    forget_settings()
    healer = registry.find("kernels.self_healing")
    assert isinstance(healer, SelfHealing)
    outcome = healer.remedy(cause("ExchangeDownError", "trading.x"))
    assert not outcome.acted
    assert "governance" in outcome.escalate_reason
    with transaction() as session:
        assert controls.all_set(session) == []


def test_a_control_run_has_no_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEOSTAT_RECOVERY", "false")
    forget_settings()
    healer = registry.find("kernels.self_healing")
    assert isinstance(healer, SelfHealing)
    outcome = healer.remedy(cause("ExchangeDownError", "trading.x"))
    assert not outcome.acted
    assert "switched off" in outcome.escalate_reason


def test_each_remedy_stands_in_the_audit_log(healer: SelfHealing) -> None:
    healer.remedy(cause("ExchangeDownError", "trading.x"))
    with transaction() as session:
        rows = [row for row in audit.rows_after(session, 0) if row.action.startswith("remedy.")]
    assert [(row.action, row.result) for row in rows] == [("remedy.pause-trading", "verified")]


def test_a_requested_remedy_is_handed_to_a_worker_once_and_carried_out_once(
    healer: SelfHealing,
) -> None:
    with transaction() as session:
        run = healer.request(session, "pause-trading", component="trading.x", asked_by="test")
        assert healer.run(session, utcnow()).observed["handed"] == 1
        assert healer.run(session, utcnow()).observed["handed"] == 0
        assert session.scalars(select(Job.task)).all() == [REMEDY_TASK]
    assert healer.carry_out(run).verified
    assert not healer.carry_out(run).acted


def test_a_remedy_whose_worker_died_is_not_taken_for_a_success(healer: SelfHealing) -> None:
    with transaction() as session:
        plan = healer.plan(session, cause("ExchangeDownError", "trading.x"))
        assert isinstance(plan, Plan)
        run = session.get_one(RemedyRun, plan.run_id)
        run.started_at = utcnow() - ABANDONED_AFTER - timedelta(seconds=1)
    with transaction() as session:
        assert healer.run(session, utcnow()).observed["abandoned"] == 1
        healer.settle(session, plan, RemedyOutcome(True, True, "pause-trading"))
    assert [run.state for run in runs()] == [RunState.UNVERIFIED]


# Broken healers.


class DoesNothing(SelfHealing):
    def act(self, plan: Plan, on: object = None) -> RemedyOutcome:
        """Say that it worked."""
        del on
        return RemedyOutcome(True, True, plan.playbook.name)


class BelievesEverything(SelfHealing):
    def act(self, plan: Plan, on: processes.ProcessControl | None = None) -> RemedyOutcome:
        """Act, and take it for done."""
        outcome = super().act(plan, on)
        return RemedyOutcome(outcome.acted, True, outcome.playbook)


class BelievesNothing(SelfHealing):
    def act(self, plan: Plan, on: processes.ProcessControl | None = None) -> RemedyOutcome:
        """Act, and never see an effect."""
        outcome = super().act(plan, on)
        return RemedyOutcome(outcome.acted, False, outcome.playbook, "unseen")


@pytest.mark.parametrize("kind", [DoesNothing, BelievesEverything, BelievesNothing])
def test_a_broken_healer_fails_its_probe(healer: SelfHealing, kind: type[SelfHealing]) -> None:
    with transaction() as session:
        assert not kind(healer.context).probe(session).passed
        assert healer.probe(session).passed
