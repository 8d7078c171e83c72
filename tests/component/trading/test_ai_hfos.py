"""The coordinator: every threshold of health, drawdown and modes; one fact can forbid."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import combinations, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.store import checks, controls, trading
from homeostat.store.database import transaction
from homeostat.testing import check_contract
from homeostat.trading import ai_hfos
from homeostat.trading.ai_hfos import (
    ALLOW_ALL,
    SUBSYSTEMS,
    Drawdown,
    Facts,
    Health,
    RiskMode,
    directive_for,
    directives,
    health_of,
    mode_for,
    next_drawdown,
)
from homeostat.trading.health import Level
from homeostat.trading.self_healing import TARGETS, Policy, policy_for
from tests.positions import held_position

WELL = dict.fromkeys(SUBSYSTEMS, 100.0)


@pytest.mark.parametrize(
    ("scores", "health"),
    [
        ([90] * 8, Health.OPTIMAL),
        ([89.9] * 8, Health.HEALTHY),
        ([100] * 7 + [49], Health.HEALTHY),
        ([70] * 8, Health.HEALTHY),
        ([69.9] * 8, Health.DEGRADED),
        ([100] * 6 + [49] * 2, Health.DEGRADED),
        ([50] * 8, Health.DEGRADED),
        ([49.5] * 3 + [50] * 5, Health.CRITICAL),
        ([100] * 5 + [0] * 3, Health.DEGRADED),
        ([100] * 4 + [0] * 4, Health.EMERGENCY),
        ([50] * 5 + [0] * 3, Health.CRITICAL),
        ([29.9], Health.EMERGENCY),
        ([30.0], Health.CRITICAL),
        ([], Health.EMERGENCY),
    ],
)
def test_each_health_begins_where_the_specification_says(
    scores: list[float], health: Health
) -> None:
    assert health_of(scores) is health


@pytest.mark.parametrize(
    ("now", "drawdown", "then"),
    [
        ("NORMAL", 0.0499, "NORMAL"),
        ("NORMAL", 0.05, "SAFE"),
        ("NORMAL", 0.10, "CRITICAL"),
        ("NORMAL", 0.0999, "SAFE"),
        ("NORMAL", 0.1999, "CRITICAL"),
        ("NORMAL", 0.20, "HALT"),
        ("SAFE", 0.0401, "SAFE"),
        # At four fifths of its bound a level is not left yet.
        ("SAFE", 0.8 * 0.05, "SAFE"),
        ("SAFE", 0.0399, "NORMAL"),
        ("SAFE", 0.0999, "SAFE"),
        ("CRITICAL", 0.0801, "CRITICAL"),
        ("CRITICAL", 0.0799, "SAFE"),
        ("HALT", 0.1601, "HALT"),
        ("HALT", 0.1599, "CRITICAL"),
        ("HALT", 0.0, "CRITICAL"),
    ],
)
def test_the_drawdown_machine_has_hysteresis(now: str, drawdown: float, then: str) -> None:
    assert next_drawdown(Drawdown(now), drawdown) == then


def facts(**more: Any) -> Facts:
    usual: dict[str, Any] = {
        "scores": WELL,
        "policy": ALLOW_ALL,
        "drawdown": Drawdown.NORMAL,
        "brake": False,
        "paused": False,
        "safe_profile": False,
        "winning": False,
    }
    return Facts(**{**usual, **more})


@pytest.mark.parametrize(
    ("more", "mode"),
    [
        ({}, RiskMode.NORMAL),
        ({"winning": True}, RiskMode.AGGRESSIVE),
        ({"winning": True, "scores": dict.fromkeys(SUBSYSTEMS, 80.0)}, RiskMode.NORMAL),
        ({"safe_profile": True}, RiskMode.SAFE),
        ({"drawdown": Drawdown.SAFE}, RiskMode.SAFE),
        ({"scores": dict.fromkeys(SUBSYSTEMS, 60.0)}, RiskMode.SAFE),
        ({"drawdown": Drawdown.CRITICAL}, RiskMode.CRITICAL),
        ({"policy": None}, RiskMode.CRITICAL),
        ({"policy": "NO_NEW_TRADES"}, RiskMode.CRITICAL),
        ({"scores": dict.fromkeys(SUBSYSTEMS, 45.0)}, RiskMode.CRITICAL),
    ],
)
def test_the_most_careful_fact_sets_the_mode(more: dict[str, Any], mode: RiskMode) -> None:
    assert mode_for(facts(**more)) is mode


@pytest.mark.parametrize(
    ("mode", "row"),
    [
        ("CRITICAL", (0.3, 0.85, 3, 5.0, 0.15)),
        ("SAFE", (0.6, 0.75, 5, 10.0, 0.20)),
        ("NORMAL", (1.0, 0.65, 8, 20.0, 0.30)),
        ("AGGRESSIVE", (1.3, 0.60, 8, 20.0, 0.30)),
    ],
)
def test_the_mode_table_is_the_specifications(mode: str, row: tuple[float, ...]) -> None:
    assert tuple(vars(ai_hfos.MODES[RiskMode(mode)]).values()) == row


@pytest.mark.parametrize(
    "more", [{"brake": True}, {"paused": True}, {"policy": None}, {"drawdown": Drawdown.HALT}]
)
def test_any_one_fact_forbids_entries(more: dict[str, Any]) -> None:
    assert directive_for(facts(), 1, utcnow()).allow_new_trades
    assert not directive_for(facts(**more), 1, utcnow()).allow_new_trades


@pytest.mark.parametrize(
    ("more", "reduces"),
    [
        ({}, False),
        ({"drawdown": Drawdown.SAFE}, False),
        ({"drawdown": Drawdown.CRITICAL}, True),
        ({"drawdown": Drawdown.HALT}, True),
        ({"policy": "NO_NEW_TRADES"}, False),
        ({"policy": "DEFENSIVE_EXIT"}, True),
        ({"policy": "EMERGENCY_SHUTDOWN"}, True),
        ({"policy": None}, False),
    ],
)
def test_global_risk_is_reduced_from_ten_percent_down_or_where_safety_defends(
    more: dict[str, Any],
    reduces: bool,  # noqa: FBT001  # a column of the table above
) -> None:
    assert directive_for(facts(**more), 1, utcnow()).reduce_global_risk is reduces


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("equity", "level", "allows"),
    [
        (9_501.0, "NORMAL", True),
        (9_500.0, "SAFE", True),
        (9_000.0, "CRITICAL", False),
        (8_000.0, "HALT", False),
        (10_500.0, "NORMAL", True),
    ],
)
def test_the_books_drawdown_moves_the_machine_which_remembers(
    equity: float,
    level: str,
    allows: bool,  # noqa: FBT001  # a column of the table above
) -> None:
    with transaction() as session:
        book = trading.book_of(session, trading.PAPER)
        book.peak_equity, book.equity = 10_000.0, equity
        component().run(session, utcnow())
        assert book.drawdown_level == level
        # With all of it earned back, a level is left at a time.
        book.equity = 10_000.0
        component().run(session, utcnow())
        below = {"HALT": "CRITICAL", "CRITICAL": "SAFE"}.get(level, "NORMAL")
        assert book.drawdown_level == below
    assert directive_for(facts(drawdown=Drawdown(level)), 1, utcnow()).allow_new_trades is allows


def hold(session: Session, **more: Any) -> trading.Position:
    """Open a position of 10 at 100 in the book."""
    wide = {"stop": 90.0, "take_profit": 120.0, "trail": 0.1, "risk_per_unit": 10.0}
    position = held_position(**{**wide, **more})
    session.add(position)
    session.flush()
    return position


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("side", "mark", "peak", "level"),
    [
        (1, 50.1, 10_000.0, "NORMAL"),
        (1, 50.0, 10_000.0, "SAFE"),
        (-1, 200.0, 10_000.0, "CRITICAL"),
        (1, 0.0, 10_000.0, "CRITICAL"),
        # What floats was in the peak as well: with it still there nothing is lost.
        (1, 200.0, 11_000.0, "NORMAL"),
        (1, 100.0, 11_000.0, "SAFE"),
        (-1, 50.0, 9_000.0, "NORMAL"),
    ],
)
def test_what_floats_counts_in_the_drawdown(
    side: int, mark: float, peak: float, level: str
) -> None:
    with transaction() as session:
        book = trading.book_of(session, trading.PAPER)
        book.peak_equity, book.equity = peak, 10_000.0
        hold(session, side=side, mark=mark)
        component().run(session, utcnow())
        assert book.drawdown_level == level


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("advice", "level", "conflicts"),
    [
        # No policy is in force: safety forbids adding, and whoever would add gives way.
        ("SCALE_IN", "NORMAL", 1),
        ("EXTEND_HOLD", "NORMAL", 1),
        ("HOLD", "NORMAL", 0),
        ("EXIT", "NORMAL", 0),
        ("TIGHTEN_SL", "NORMAL", 0),
        # From ten percent down safety wants a half taken off.
        ("TIGHTEN_SL", "CRITICAL", 1),
        ("REDUCE", "CRITICAL", 0),
        ("EXIT", "CRITICAL", 1),
    ],
)
def test_the_coordinator_counts_who_wants_different_things(
    advice: str, level: str, conflicts: int
) -> None:
    with transaction() as session:
        book = trading.book_of(session, trading.PAPER)
        book.drawdown_level = level
        book.peak_equity = 10_000.0 if level == "NORMAL" else 10_000.0 / 0.9
        hold(session, advice=advice)
        assert component().run(session, utcnow()).observed["conflicts"] == conflicts


@pytest.mark.parametrize(
    ("drawdown", "mode"),
    [
        (Drawdown.NORMAL, RiskMode.NORMAL),
        (Drawdown.SAFE, RiskMode.SAFE),
        (Drawdown.CRITICAL, RiskMode.CRITICAL),
        (Drawdown.HALT, RiskMode.CRITICAL),
    ],
)
def test_each_level_of_the_drawdown_has_its_mode(drawdown: Drawdown, mode: RiskMode) -> None:
    assert mode_for(facts(drawdown=drawdown)) is mode


@pytest.mark.parametrize(
    ("score", "unhealthy"), [(50.0, False), (49.9, True), (45.0, True), (60.0, False)]
)
def test_a_subsystem_is_unhealthy_below_fifty_points(
    score: float,
    unhealthy: bool,  # noqa: FBT001  # a column of the table above
) -> None:
    four = [score] * 4 + [100.0] * 4
    assert (health_of(four) is Health.EMERGENCY) is unhealthy


def test_the_points_of_each_state_are_ours_and_fixed() -> None:
    points = {"RUNNING": 100.0, "DEGRADED": 60.0, "UNKNOWN": 45.0, "FAILED": 0.0}
    assert {str(state): found for state, found in directives.SCORES.items()} == points


@given(
    levels=st.fixed_dictionaries({name: st.sampled_from(list(Level)) for name in TARGETS}),
    points=st.lists(st.sampled_from([0.0, 45.0, 60.0, 100.0]), min_size=8, max_size=8),
    drawdown=st.sampled_from(list(Drawdown)),
    switches=st.tuples(*[st.booleans()] * 4),
)
def test_no_combination_allows_what_the_safety_policy_forbids(
    levels: dict[str, Level],
    points: list[float],
    drawdown: Drawdown,
    switches: tuple[bool, bool, bool, bool],
) -> None:
    policy = policy_for(levels)
    scores = dict(zip(SUBSYSTEMS, points, strict=True))
    found = directive_for(Facts(scores, policy, drawdown, *switches), 1, utcnow())
    if policy != ALLOW_ALL:
        assert not found.allow_new_trades
    if found.allow_new_trades:
        assert set(levels.values()) <= {Level.HEALTHY, Level.UNKNOWN}
        assert not switches[0]
        assert not switches[1]


#: Scores that make each health, the coordinator's own words for what it read.
POINTS = {
    Health.OPTIMAL: [100.0] * 8,
    Health.HEALTHY: [100.0] * 7 + [45.0],
    Health.DEGRADED: [60.0] * 8,
    Health.CRITICAL: [60.0] * 5 + [0.0] * 3,
    Health.EMERGENCY: [0.0] * 8,
}


def test_entries_are_allowed_in_these_combinations_and_in_no_other() -> None:
    """All 1,920 combinations of what a directive is decided by."""
    policies = [None, *Policy]
    switches = list(product((False, True), repeat=4))
    allowed = 0
    for policy, health, drawdown, set_on in product(policies, Health, Drawdown, switches):
        scores = dict(zip(SUBSYSTEMS, POINTS[health], strict=True))
        found = directive_for(Facts(scores, policy, drawdown, *set_on), 1, utcnow())
        assert found.health == health
        brake, paused = set_on[:2]
        may = (
            policy == ALLOW_ALL
            and health in {Health.OPTIMAL, Health.HEALTHY, Health.DEGRADED}
            and drawdown in {Drawdown.NORMAL, Drawdown.SAFE}
            and not brake
            and not paused
        )
        assert found.allow_new_trades is may, (policy, health, drawdown, set_on)
        allowed += may
    assert allowed == 3 * 2 * 4


def told(levels: Sequence[Level], names: Sequence[str]) -> dict[str, Level]:
    """Give these levels to the targets, each to one at least."""
    return {name: levels[place % len(levels)] for place, name in enumerate(names)}


def test_all_sets_of_levels_of_the_thirteen_lead_to_the_policy_of_the_specification() -> None:
    hangs = [name for name, target in TARGETS.items() if target.impacts_trading]
    others = [name for name in TARGETS if name not in hangs]
    # Four targets do not impact trading: five levels at once do not fit on them.
    sets = [list(one) for size in range(1, 6) for one in combinations(Level, size)]
    for of_hangs, of_others in product(sets, (one for one in sets if len(one) <= len(others))):
        seen = {*of_hangs, *of_others}
        found = policy_for(told(of_hangs, hangs) | told(of_others, others))
        if Level.FAILED in seen:
            expected = Policy.EMERGENCY_SHUTDOWN
        elif Level.CRITICAL in of_hangs:
            expected = Policy.DEFENSIVE_EXIT
        elif seen & {Level.CRITICAL, Level.DEGRADED} or Level.UNKNOWN in of_hangs:
            expected = Policy.NO_NEW_TRADES
        else:
            expected = Policy.ALLOW_ALL
        assert found is expected, (of_hangs, of_others)


@pytest.mark.usefixtures("sqlite_store")
def test_each_subsystem_acknowledges_the_directive_in_its_own_cycle() -> None:
    with transaction() as session:
        component().run(session, utcnow())
        for name in SUBSYSTEMS:
            registry.find(name).run(session, utcnow())
        seen = component().run(session, utcnow()).observed
    assert seen["last_acknowledged_by"] == sorted(SUBSYSTEMS)


def component() -> Any:
    return registry.find("trading.ai_hfos")


@pytest.mark.usefixtures("store")
def test_directives_are_versioned_expire_and_are_acknowledged() -> None:
    with transaction() as session:
        component().run(session, utcnow())
        component().run(session, utcnow())
        newest = trading.latest_directive(session)
        assert newest
        assert newest.version == 2
        assert newest.expires_at - newest.issued_at == timedelta(minutes=3) == ai_hfos.LIFE
        assert not newest.allow_new_trades
        assert trading.acknowledge(session, "trading.universe_os") == 2
        assert trading.acknowledge(session, "trading.universe_os") == 2
        seen = component().run(session, utcnow()).observed
        assert seen["last_acknowledged_by"] == ["trading.universe_os"]


@pytest.mark.usefixtures("sqlite_store")
def test_a_healthy_system_with_a_fresh_policy_is_allowed_to_trade() -> None:
    now = utcnow()
    with transaction() as session:
        for name in SUBSYSTEMS:
            lease = checks.lease_of(session, name)
            lease.expires_at = now + timedelta(minutes=1)
            lease.probe_passed = True
        policy = trading.SafetyPolicy(
            at=now, expires_at=now + timedelta(seconds=30), policy=ALLOW_ALL, overall="healthy"
        )
        session.add(policy)
        session.flush()
        assert set(SUBSYSTEMS) <= set(registry.specs())
        seen = component().run(session, now).observed
        assert seen["allow_new_trades"] is True, seen
        assert seen["mode"] == "NORMAL"
        policy.expires_at = now - timedelta(seconds=1)
        seen = component().run(session, now).observed
        assert seen["allow_new_trades"] is False
        assert "safety policy is missing or stale" in seen["forbids_entries"]


@pytest.mark.usefixtures("sqlite_store")
def test_a_pause_and_the_brake_stand_in_the_directive() -> None:
    with transaction() as session:
        controls.set_on(session, controls.TRADING_PAUSED, actor="test", reason="drill")
        controls.set_on(session, controls.BRAKE, actor="test", reason="drill")
        seen = component().run(session, utcnow()).observed
        assert {"trading is paused", "the brake is on"} <= set(seen["forbids_entries"])


@pytest.mark.usefixtures("store")
def test_the_component_keeps_the_contract() -> None:
    with transaction() as session:
        check_contract(component(), session)
