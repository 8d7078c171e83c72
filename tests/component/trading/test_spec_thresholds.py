"""Bounds of the specification that are met at one moment, one price or one number, either side."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat import registry
from homeostat.store.database import transaction
from homeostat.store.trading import Directive, ModelRecord, PolicyHead, UniverseHead
from homeostat.trading import signals
from homeostat.trading.dynamic_tpsl import ROUND_TRIP_FEE, tiered, volatility_scaled
from homeostat.trading.flow import entries
from homeostat.trading.flow.ground import Ground
from homeostat.trading.flow.parties import Parties
from homeostat.trading.market import generator, port
from homeostat.trading.market.panel import BAR_S, Panel
from homeostat.trading.model_supervisor.rules import blocked_side
from homeostat.trading.position_intelligence import Label, Sight
from homeostat.trading.profit_amplification import score_of, stop_after_add
from homeostat.trading.signals import EwmaModel
from homeostat.trading.universe_os import LIMITS, Profile, filter_symbols
from tests.component.trading.test_positions import pal_sight, position
from tests.component.trading.test_universe_os import listed, panel_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER, A_BREATH = NOW + timedelta(minutes=1), timedelta(microseconds=1)


def ground(*, policy: datetime = LATER, directive: datetime = LATER) -> Ground:
    order = Directive(
        version=1, expires_at=directive, mode="NORMAL", allow_new_trades=True, min_confidence=0.65
    )
    return Ground(NOW, frozenset(), PolicyHead("p", policy, "ALLOW_ALL"), order)


@pytest.mark.parametrize(
    ("found", "rule"),
    [
        (ground(policy=NOW + A_BREATH), ""),
        (ground(policy=NOW), "SAFETY_POLICY_EXPIRED"),
        (ground(directive=NOW + A_BREATH), ""),
        (ground(directive=NOW), "DIRECTIVE_EXPIRED"),
    ],
)
def test_leave_to_trade_ends_at_its_moment(found: Ground, rule: str) -> None:
    assert found.entry_rule() == rule


@pytest.mark.parametrize(("until", "rule"), [(NOW + A_BREATH, ""), (NOW, "UNIVERSE_EXPIRED")])
def test_a_universe_ends_at_its_moment(until: datetime, rule: str) -> None:
    universe_os: Any = registry.find("trading.universe_os")
    universe = UniverseHead("u", until, "ENFORCED", frozenset({"A"}))
    assert universe_os.admit(universe, ["A"], NOW) == [rule]


@pytest.mark.usefixtures("sqlite_store")
def test_the_confidence_floor_lets_its_own_value_in_and_no_less() -> None:
    panel, model = generator.panel(3, symbols=12, bars=240), EwmaModel()
    at = port.moment_of(int(panel.times[-1]) + BAR_S)
    told = signals.signals(panel, at, model)
    row = int(np.argmax(told.confidence))
    universe = UniverseHead("u", at + timedelta(minutes=1), "ENFORCED", frozenset(panel.symbols))
    found = {}
    with transaction() as session:
        for floor in (told.confidence[row], np.nextafter(told.confidence[row], 1)):
            order = ground().directive
            assert order
            order.min_confidence, order.expires_at = float(floor), universe.expires_at
            policy = PolicyHead("p", universe.expires_at, "ALLOW_ALL")
            rules_in_force = Ground(at, frozenset(), policy, order, universe)
            batch = entries.decide(session, panel, model, rules_in_force, Parties(session))
            found[float(floor)] = batch.rules[row]
    assert list(found.values()) == ["", "CONFIDENCE_FLOOR"]


@pytest.mark.usefixtures("sqlite_store")
def test_a_model_that_says_one_half_sees_no_side_whatever_the_floor() -> None:
    panel = generator.panel(3, symbols=12, bars=240)
    at = port.moment_of(int(panel.times[-1]) + BAR_S)
    until = at + timedelta(minutes=1)
    order = ground(policy=until, directive=until).directive
    assert order
    order.min_confidence = 0.5
    universe = UniverseHead("u", until, "ENFORCED", frozenset(panel.symbols))
    found = Ground(at, frozenset(), PolicyHead("p", until, "ALLOW_ALL"), order, universe)
    with transaction() as session:
        batch = entries.decide(session, panel, EwmaModel(slope=0.0), found, Parties(session))
    assert set(batch.rules) == {entries.NO_SIGNAL}


@pytest.mark.usefixtures("sqlite_store")
def test_the_supervisor_counts_the_sides_of_those_that_are_sure_enough() -> None:
    panel, model = generator.panel(3, symbols=40, bars=240), EwmaModel()
    at = port.moment_of(int(panel.times[-1]) + BAR_S)
    told = signals.signals(panel, at, model)
    sure = told.confidence >= 0.65
    sides = [int((sure & (told.side == side)).sum()) for side in (1, -1)]
    everybody = [int((told.side == side).sum()) for side in (1, -1)]
    assert all(0 < some < most for some, most in zip(sides, everybody, strict=True))
    found = replace(ground(), at=at)
    with transaction() as session:
        entries.decide(session, panel, model, found, Parties(session))
        record = session.get_one(ModelRecord, model.name)
        assert [record.longs, record.shorts] == sides


def pair(correlation: float) -> Panel:
    """Return two symbols whose returns have that correlation, the first the more liquid."""
    draw = np.random.default_rng(5).standard_normal((2, 119))
    draw -= draw.mean(axis=1, keepdims=True)
    first = draw[0] / np.linalg.norm(draw[0])
    other = draw[1] - (draw[1] @ first) * first
    second = correlation * first + np.sqrt(1 - correlation**2) * other / np.linalg.norm(other)
    panel = panel_of(0.00144, 0.00144)
    for row, steps in enumerate((first, second)):
        panel.close[row, 1:] = 100 * np.exp(np.cumsum(0.00144 * np.sqrt(119) * steps))
        panel.close[row, 0] = 100.0
    panel.volume[1] *= 0.9
    return panel


@pytest.mark.parametrize(("correlation", "kept"), [(0.899, 2), (0.901, 1)])
def test_a_twin_stays_out_from_a_correlation_of_nine_tenths(correlation: float, kept: int) -> None:
    panel = pair(correlation)
    assert len(filter_symbols(listed(panel), panel, LIMITS[Profile.AGGRESSIVE]).passed) == kept


@pytest.mark.parametrize(
    ("near", "far", "points"),
    [
        ({"r": 4.9}, {"r": 5.0}, 0.6),
        ({"r": 5.0}, {"r": 6.0}, 0.0),
        ({"drawdown": 0.5}, {"drawdown": 0.4}, 4.0),
        ({"drawdown": 0.6}, {"drawdown": 0.5}, 0.0),
        ({"rank": 100.0}, {"rank": 90.0}, 1.5),
        ({"rank": 101.0}, {"rank": 100.0}, 0.0),
    ],
)
def test_each_part_of_the_score_ends_where_the_formula_says(
    near: dict[str, float], far: dict[str, float], points: float
) -> None:
    gained = score_of(pal_sight(**far)) - score_of(pal_sight(**near))
    assert gained == pytest.approx(points)


@pytest.mark.parametrize(
    ("score", "reach"), [(0.0, 0.8), (0.01, 0.807), (0.99, 1.493), (1.0, 1.5), (1.1, 1.5)]
)
def test_the_reach_of_a_target_is_clamped_at_both_ends(score: float, reach: float) -> None:
    assert tiered(0.9, score=score).take_profit == pytest.approx(0.04 * 1.5 * reach)


@pytest.mark.parametrize(
    ("volatility", "width"), [(0.0, 0.9), (0.019, 0.9), (0.0191, 0.91), (0.0279, 1.79), (0.03, 1.8)]
)
def test_the_width_of_a_stop_is_clamped_at_both_ends(volatility: float, width: float) -> None:
    assert tiered(0.1, volatility=volatility).stop_loss == pytest.approx(0.06 * 1.05 * width)


UNIT = st.floats(0.0, 1.0)


@given(confidence=UNIT, score=st.floats(-3, 3), volatility=st.floats(0.0, 0.5))
def test_tiered_barriers_never_leave_their_clamps(
    confidence: float, score: float, volatility: float
) -> None:
    found = tiered(confidence, score, volatility)
    assert 0.03 <= found.take_profit <= 0.10
    assert 0.05 <= found.stop_loss <= 0.12
    assert 0.01 <= found.trail <= 0.03


@given(confidence=UNIT, volatility=st.floats(0.0, 0.5))
def test_volatility_barriers_pay_for_their_stop_and_their_fee(
    confidence: float, volatility: float
) -> None:
    found = volatility_scaled(confidence, volatility)
    assert 3 * ROUND_TRIP_FEE <= found.stop_loss <= 0.15
    assert found.take_profit >= 1.5 * found.stop_loss + ROUND_TRIP_FEE
    assert found.trail == pytest.approx(0.6 * found.stop_loss)


@given(
    side=st.sampled_from([1, -1]),
    share=st.floats(0.01, 0.5),
    moved=st.floats(-0.5, 10.0),
    kept=st.floats(-1.0, 1.0),
)
def test_no_add_risks_more_than_the_first_entry_or_loosens_the_stop(
    side: int, share: float, moved: float, kept: float
) -> None:
    """`moved` is where the price stands and `kept` where the stop does, in R from the entry."""
    one = position(side=side, stop=100.0 + 2.0 * side * kept)
    quantity, price = share * one.quantity, 100.0 + 2.0 * side * moved
    stop = stop_after_add(one, quantity, price)
    whole = one.quantity + quantity
    average = (one.quantity * one.entry + quantity * price) / whole
    assert side * (stop - one.stop) >= 0
    assert whole * side * (average - stop) <= one.first_quantity * one.risk_per_unit + 1e-6


@given(longs=st.integers(0, 5_000), shorts=st.integers(0, 5_000))
def test_a_bias_is_the_same_for_either_side_and_needs_share_and_number(
    longs: int, shorts: int
) -> None:
    side = blocked_side(longs, shorts)
    assert blocked_side(shorts, longs) == -side
    if side:
        assert longs + shorts >= 20
        assert max(longs, shorts) / (longs + shorts) > 0.7


@given(
    seen=st.lists(
        st.tuples(st.floats(-2, 4), st.booleans(), st.integers(0, 60)), min_size=1, max_size=20
    )
)
def test_no_bar_alone_moves_a_label_and_a_peak_is_never_forgotten(
    seen: list[tuple[float, bool, int]],
) -> None:
    component: Any = registry.find("trading.position_intelligence")
    one = position(label="SAFE", pending_label="SAFE", peak_r=0.0)
    before: list[Label] = []
    for r, up, bars in seen:
        label, peak = Label(one.label), one.peak_r
        sight = Sight(r, max(peak, r), bars, 0.1, up)
        found = component.classify(one, sight)
        before.append(Label(one.pending_label))
        assert one.peak_r == max(peak, r)
        if found is not label:
            assert before[-2:] == [found, found]
