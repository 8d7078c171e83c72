"""Thirteen targets, each measured from something that can come out otherwise, and the policy."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.settings import settings
from homeostat.store import checks, controls, trading
from homeostat.store.database import transaction
from homeostat.store.remedies import RemedyRun
from homeostat.testing import check_contract
from homeostat.trading import health
from homeostat.trading.health import Level, Reading
from homeostat.trading.market import port
from homeostat.trading.market.injectors import FaultKind, MarketFault
from homeostat.trading.self_healing import PLAYBOOKS, TARGETS, Policy, overall, policy_for

NAMES = [
    "data_feed",
    "exchange_connection",
    "ai_model",
    "event_executor",
    "orchestrator",
    "portfolio_balancer",
    "model_supervisor",
    "retraining_orchestrator",
    "position_monitor",
    "risk_guard",
    "database",
    "universe_os",
    "logging",
]
WELL = dict.fromkeys(NAMES, Level.HEALTHY)


def test_the_thirteen_targets_are_the_specifications() -> None:
    assert list(TARGETS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_target_alone_moves_the_policy(name: str) -> None:
    impacts = TARGETS[name].impacts_trading
    assert policy_for({**WELL, name: Level.FAILED}) is Policy.EMERGENCY_SHUTDOWN
    critical = Policy.DEFENSIVE_EXIT if impacts else Policy.NO_NEW_TRADES
    assert policy_for({**WELL, name: Level.CRITICAL}) is critical
    assert policy_for({**WELL, name: Level.DEGRADED}) is Policy.NO_NEW_TRADES
    unknown = Policy.NO_NEW_TRADES if impacts else Policy.ALLOW_ALL
    assert policy_for({**WELL, name: Level.UNKNOWN}) is unknown
    missing = {one: level for one, level in WELL.items() if one != name}
    assert policy_for(missing) is unknown
    assert overall({**WELL, name: Level.CRITICAL}) is Level.CRITICAL
    assert overall(missing) is Level.UNKNOWN


def test_all_healthy_allows_all() -> None:
    assert policy_for(WELL) is Policy.ALLOW_ALL
    assert overall(WELL) is Level.HEALTHY


def read(session: Session, name: str, late_s: float = 0.0) -> Reading:
    now = utcnow() + timedelta(seconds=late_s)
    return TARGETS[name].read(health.Ground(settings(), session, now))


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("age_s", "level"),
    [
        (140, Level.HEALTHY),
        (165, Level.DEGRADED),
        (290, Level.DEGRADED),
        (315, Level.CRITICAL),
        (590, Level.CRITICAL),
        (615, Level.FAILED),
    ],
)
def test_the_feeds_age_sets_its_level(state_dir: Path, age_s: float, level: Level) -> None:
    del state_dir
    now = utcnow()
    closed = now - timedelta(seconds=age_s)
    minute = int(closed.timestamp()) // 60 * 60
    market = port.market(settings())
    market.inject(MarketFault(kind=FaultKind.STALL, since=minute))
    at = utcnow().fromtimestamp(minute + age_s, tz=now.tzinfo)
    with transaction() as session:
        reading = health.data_feed(health.Ground(settings(), session, at))
    assert reading.level is level, reading


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("still", "level"),
    [
        (44, Level.HEALTHY),
        (45, Level.DEGRADED),
        (111, Level.DEGRADED),
        (112, Level.CRITICAL),
    ],
)
def test_symbols_that_stand_still_are_noticed(still: int, level: Level) -> None:
    market = port.market(settings())
    since = int(utcnow().timestamp()) - 2_400
    symbols = market.strip.symbols[:still]
    market.inject(MarketFault(kind=FaultKind.FLATLINE, since=since, symbols=symbols, bars=60))
    with transaction() as session:
        assert read(session, "data_feed").level is level


@pytest.mark.usefixtures("sqlite_store")
def test_a_malformed_feed_has_failed(state_dir: Path) -> None:
    (state_dir / "market-faults.json").write_text("nonsense")
    with transaction() as session:
        assert read(session, "data_feed").level is Level.FAILED


def set_lease(session: Session, name: str, *, failures: int = 0, ends_in_s: float = 60) -> None:
    lease = checks.lease_of(session, name)
    lease.expires_at = utcnow() + timedelta(seconds=ends_in_s)
    lease.failures_in_row, lease.probe_passed = failures, failures == 0
    session.flush()


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("target", "component"),
    [
        ("portfolio_balancer", "trading.portfolio_balancer"),
        ("model_supervisor", "trading.model_supervisor"),
        ("retraining_orchestrator", "trading.retraining_orchestrator"),
        ("position_monitor", "trading.position_intelligence"),
        ("universe_os", "trading.universe_os"),
        ("risk_guard", "kernels.governance"),
        ("orchestrator", "trading.ai_hfos"),
    ],
)
def test_a_lease_is_believed_only_while_it_holds(target: str, component: str) -> None:
    with transaction() as session:
        now = utcnow()
        assert read(session, target).level is Level.UNKNOWN
        set_lease(session, component)
        assert read(session, target).level is Level.HEALTHY
        assert read(session, target, late_s=61).level is Level.UNKNOWN
        set_lease(session, component, failures=2)
        assert read(session, target).level is Level.CRITICAL
        set_lease(session, component, failures=3)
        assert read(session, target).level is Level.FAILED
        assert now


@pytest.mark.usefixtures("store")
def test_the_database_is_written_and_read_back_and_left_as_it_was() -> None:
    with transaction() as session:
        assert read(session, "database").level is Level.HEALTHY
        assert controls.all_set(session) == []


@pytest.mark.usefixtures("sqlite_store")
def test_the_executor_is_unknown_until_the_flow_ran_and_then_ages() -> None:
    with transaction() as session:
        assert read(session, "event_executor").level is Level.UNKNOWN
        cycle = trading.DecisionCycle(due_at=utcnow(), book="paper", inputs={}, counts={})
        session.add(cycle)
        session.flush()
        assert read(session, "event_executor", late_s=170).level is Level.HEALTHY
        assert read(session, "event_executor", late_s=190).level is Level.DEGRADED
        assert read(session, "event_executor", late_s=310).level is Level.CRITICAL


@pytest.mark.usefixtures("sqlite_store")
def test_a_corrupt_artefact_and_a_ban_are_critical() -> None:
    with transaction() as session:
        assert read(session, "ai_model").level is Level.UNKNOWN
        artifact = trading.ModelArtifact(
            name="lightgbm", sha256="0" * 64, content=b"x", state="CHAMPION"
        )
        session.add(artifact)
        session.flush()
        session.add(trading.ModelAlias(name="lightgbm", artifact_id=artifact.id))
        session.flush()
        found = read(session, "ai_model")
        assert (found.level, found.subject) == (Level.CRITICAL, "lightgbm")
        assert read(session, "exchange_connection").level is Level.HEALTHY
        controls.set_on(session, health.VENUE_BANNED, actor="test", reason="418")
        assert read(session, "exchange_connection").level is Level.CRITICAL


@pytest.mark.parametrize(
    ("name", "playbook"),
    [
        ("data_feed", "reload-configuration"),
        ("exchange_connection", "pause-trading"),
        ("ai_model", "disable-model"),
        ("event_executor", "safe-profile"),
        ("orchestrator", "restart-component"),
        ("portfolio_balancer", "restart-component"),
        ("model_supervisor", "restart-component"),
        ("retraining_orchestrator", "restart-component"),
        ("position_monitor", "restart-component"),
        ("risk_guard", "restart-component"),
        ("database", "safe-profile"),
        ("universe_os", "reload-configuration"),
        ("logging", "safe-profile"),
    ],
)
def test_each_target_has_its_playbook(name: str, playbook: str) -> None:
    assert PLAYBOOKS[TARGETS[name].action] == playbook


@pytest.mark.usefixtures("sqlite_store")
def test_a_corrupt_artefact_has_its_own_model_switched_off() -> None:
    component: Any = registry.find("trading.self_healing")
    with transaction() as session:
        artifact = trading.ModelArtifact(
            name="lightgbm", sha256="0" * 64, content=b"x", state="CHAMPION"
        )
        session.add(artifact)
        session.flush()
        session.add(trading.ModelAlias(name="lightgbm", artifact_id=artifact.id))
        session.flush()
        component.run(session, utcnow())
        asked = session.scalars(select(RemedyRun)).all()
        assert [(one.playbook, one.target) for one in asked] == [("disable-model", "lightgbm")]


@pytest.mark.usefixtures("sqlite_store")
def test_a_target_whose_reading_breaks_is_unknown_and_closes_entries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The disk is asked for its room, and does not answer."""
    component: Any = registry.find("trading.self_healing")

    def broken(_path: object) -> None:
        raise OSError("the disk does not answer")

    monkeypatch.setattr(shutil, "disk_usage", broken)
    with transaction() as session:
        found = component.readings(session)["logging"]
    assert (found.level, found.reason) == (Level.UNKNOWN, "OSError: the disk does not answer")


@pytest.mark.usefixtures("sqlite_store")
def test_a_lease_with_a_failed_cycle_behind_a_passed_probe_is_degraded() -> None:
    with transaction() as session:
        set_lease(session, "trading.portfolio_balancer", failures=1)
        checks.lease_of(session, "trading.portfolio_balancer").probe_passed = True
        session.flush()
        assert read(session, "portfolio_balancer").level is Level.DEGRADED


@pytest.mark.usefixtures("sqlite_store")
def test_an_action_is_asked_of_the_kernel_once() -> None:
    component: Any = registry.find("trading.self_healing")
    with transaction() as session:
        set_lease(session, "trading.portfolio_balancer", failures=3)
        first = component.run(session, utcnow()).observed
        second = component.run(session, utcnow()).observed
        runs = session.scalars(select(RemedyRun)).all()
        assert first["policy"] == "EMERGENCY_SHUTDOWN"
        assert [one["action"] for one in first["actions"]] == ["RESTART_SUBSYSTEM"]
        assert second["actions"] == []
        assert second["verified_actions"] == 0
        assert [run.playbook for run in runs] == ["restart-component"]
        runs[0].state = "verified"
        session.flush()
        assert component.run(session, utcnow()).observed["verified_actions"] == 1


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(("ago_s", "asked"), [(299, []), (301, ["RESTART_SUBSYSTEM"])])
def test_the_same_action_is_asked_for_again_after_five_minutes(
    ago_s: int, asked: list[str]
) -> None:
    component: Any = registry.find("trading.self_healing")
    with transaction() as session:
        set_lease(session, "trading.portfolio_balancer", failures=3)
        component.run(session, utcnow())
        for one in session.scalars(select(RemedyRun)):
            one.started_at = utcnow() - timedelta(seconds=ago_s)
        session.flush()
        again = component.run(session, utcnow()).observed["actions"]
    assert [one["action"] for one in again] == asked


@pytest.mark.usefixtures("sqlite_store")
def test_what_is_asked_again_stands_in_a_policy_of_its_own() -> None:
    component: Any = registry.find("trading.self_healing")
    with transaction() as session:
        set_lease(session, "trading.portfolio_balancer", failures=3)
        component.run(session, utcnow())
        first = trading.latest_policy(session)
        assert first
        for one in session.scalars(select(RemedyRun)):
            one.started_at = utcnow() - timedelta(seconds=301)
        session.flush()
        component.run(session, utcnow())
        again = trading.latest_policy(session)
        assert again
        assert again.id != first.id
        assert [one["target"] for one in again.actions] == ["portfolio_balancer"]


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("state", "ago", "counted"),
    [
        ("verified", timedelta(hours=23, minutes=59), 1),
        ("verified", timedelta(days=1, seconds=1), 0),
        ("failed", timedelta(0), 0),
    ],
)
def test_an_action_counts_for_a_day_and_when_it_is_verified(
    state: str, ago: timedelta, counted: int
) -> None:
    component: Any = registry.find("trading.self_healing")
    with transaction() as session:
        session.add(
            RemedyRun(
                playbook="restart-component",
                component="trading.universe_os",
                cause="trading.self_healing:universe_os",
                state=state,
                started_at=utcnow() - ago,
            )
        )
        session.flush()
        assert component.run(session, utcnow()).observed["verified_actions"] == counted


@pytest.mark.usefixtures("sqlite_store")
def test_the_canarys_cycle_is_no_sign_of_life_of_the_flow() -> None:
    with transaction() as session:
        cycle = trading.DecisionCycle(due_at=utcnow(), book="canary", inputs={}, counts={})
        session.add(cycle)
        session.flush()
        assert read(session, "event_executor").level is Level.UNKNOWN


@pytest.mark.usefixtures("sqlite_store")
def test_only_what_is_still_held_is_at_risk() -> None:
    with transaction() as session:
        set_lease(session, "kernels.governance")
        for state, level in (("RELEASED", Level.HEALTHY), ("HELD", Level.CRITICAL)):
            session.add(
                trading.Reservation(
                    decision_id=state, book="paper", symbol="A", side=1, cluster=0,
                    risk=1_700.0, margin=1.0, notional=1.0, state=state,
                )
            )  # fmt: skip
            session.flush()
            assert read(session, "risk_guard").level is level


@pytest.mark.usefixtures("sqlite_store")
def test_a_policy_lives_for_thirty_seconds_and_longer_while_nothing_changes() -> None:
    component: Any = registry.find("trading.self_healing")
    with transaction() as session:
        component.run(session, utcnow())
        first = trading.latest_policy(session)
        assert first
        assert first.expires_at - first.at == timedelta(seconds=30)
        first.expires_at -= timedelta(seconds=20)
        session.flush()
        component.run(session, utcnow())
        session.expire_all()
        newest = trading.latest_policy(session)
        assert newest
        assert newest.id == first.id
        assert newest.expires_at - utcnow() > timedelta(seconds=20)
        # Another level is another row, with its own beginning.
        set_lease(session, "trading.portfolio_balancer", failures=3)
        component.run(session, utcnow())
        changed = trading.latest_policy(session)
        assert changed
        assert changed.id != first.id
        assert changed.policy == "EMERGENCY_SHUTDOWN"


GRADES = [Level.HEALTHY, Level.DEGRADED, Level.CRITICAL, Level.FAILED]


@pytest.mark.parametrize(
    "bounds", [health.FEED_AGES, health.CYCLE_AGES, health.WRITE_SECONDS, (150.0, 300.0, 600.0)]
)
def test_a_level_ends_just_above_its_bound(bounds: tuple[float, ...]) -> None:
    for place, bound in enumerate(bounds):
        assert health.graded(bound, bounds) is GRADES[place]
        assert health.graded(bound + 1e-6, bounds) is GRADES[place + 1]
    assert (health.FEED_AGES, health.CYCLE_AGES) == ((150.0, 300.0, 600.0), (180.0, 300.0))
    assert health.WRITE_SECONDS == (0.5, 2.0)


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(("late_s", "level"), [(179, Level.HEALTHY), (182, Level.DEGRADED)])
def test_a_model_that_has_fallen_silent_is_degraded(late_s: float, level: Level) -> None:
    supervisor: Any = registry.find("trading.model_supervisor")
    with transaction() as session:
        supervisor.observe(session, "m", 1, 1, {})
        assert read(session, "ai_model", late_s).level is level


@pytest.mark.usefixtures("sqlite_store")
def test_an_expired_directive_is_critical_for_the_orchestrator() -> None:
    with transaction() as session:
        registry.find("trading.ai_hfos").run(session, utcnow())
        set_lease(session, "trading.ai_hfos", ends_in_s=600)
        assert read(session, "orchestrator", late_s=179).level is Level.HEALTHY
        assert read(session, "orchestrator", late_s=181).level is Level.CRITICAL


@pytest.mark.usefixtures("sqlite_store")
def test_an_order_of_unknown_outcome_degrades_the_connection() -> None:
    with transaction() as session:
        order = trading.Order(
            client_id="o", decision_id="d", book="paper", symbol="A", kind="ENTRY", side=1,
            quantity=1.0, reduce_only=False, state="SENT",
        )  # fmt: skip
        session.add(order)
        session.flush()
        assert read(session, "exchange_connection").level is Level.HEALTHY
        order.state = "UNKNOWN"
        session.flush()
        assert read(session, "exchange_connection").level is Level.DEGRADED


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(("free_mb", "level"), [(100, Level.HEALTHY), (99, Level.DEGRADED)])
def test_a_disk_that_is_nearly_full_is_seen_before_the_logs_stop(
    free_mb: int, level: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = shutil.disk_usage(".")
    nearly = usual._replace(free=free_mb * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: nearly)
    with transaction() as session:
        assert read(session, "logging").level is level


@pytest.mark.usefixtures("store")
def test_the_component_keeps_the_contract_and_accounts_for_all_targets() -> None:
    with transaction() as session:
        evidence: Any = check_contract(registry.find("trading.self_healing"), session)
        policy = trading.latest_policy(session)
        assert policy
        assert len(policy.targets) == 13
    assert sum(evidence.observed["levels"].values()) == 13
