"""Position intelligence and profit amplification: every threshold from both sides."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from homeostat import registry
from homeostat.store.database import transaction
from homeostat.store.trading import Position
from homeostat.testing import check_contract
from homeostat.trading import position_intelligence as pil
from homeostat.trading import profit_amplification as pal
from homeostat.trading.position_intelligence import Advice, Label, Sight, advice_for, label_of
from homeostat.trading.profit_amplification import Move, Volatility, propose, score_of
from tests.market_moment import MOMENT


def sight(r: float, **more: Any) -> Sight:
    usual: dict[str, Any] = {"peak_r": max(r, 0.0), "bars": 30, "costs": 0.1, "trend_up": True}
    return Sight(r, **{**usual, **more})


@pytest.mark.parametrize(
    ("seen", "label"),
    [
        (sight(1.0), Label.WINNER),
        (sight(0.99), Label.SAFE),
        (sight(1.0, trend_up=False), Label.SAFE),
        (sight(-0.7, bars=15), Label.TOXIC),
        (sight(-0.7, bars=16), Label.LOSER),
        (sight(-0.69, bars=15), Label.LOSER),
        (sight(-0.5), Label.LOSER),
        (sight(-0.49), Label.SAFE),
        (sight(0.2, costs=0.30), Label.SAFE),
        (sight(0.2, costs=0.301), Label.TOXIC),
        (sight(0.2, spread=4.9), Label.SAFE),
        (sight(0.2, spread=5.0), Label.TOXIC),
    ],
)
def test_each_label_begins_where_the_specification_says(seen: Sight, label: Label) -> None:
    assert label_of(seen) is label


@pytest.mark.parametrize(
    ("label", "seen", "advice"),
    [
        (Label.TOXIC, sight(-0.8), Advice.EXIT),
        (Label.LOSER, sight(-0.6), Advice.REDUCE),
        (Label.WINNER, sight(1.6, peak_r=2.0), Advice.SCALE_IN),
        (Label.WINNER, sight(1.59, peak_r=2.0), Advice.TIGHTEN_SL),
        (Label.WINNER, sight(2.99), Advice.SCALE_IN),
        (Label.WINNER, sight(3.0), Advice.EXTEND_HOLD),
        (Label.SAFE, sight(0.3), Advice.HOLD),
        (Label.SAFE, sight(0.49, peak_r=1.0), Advice.TIGHTEN_SL),
        (Label.SAFE, sight(0.5, peak_r=1.0), Advice.HOLD),
    ],
)
def test_each_advice_follows_from_label_and_sight(
    label: Label, seen: Sight, advice: Advice
) -> None:
    assert advice_for(label, seen) is advice


def position(**more: Any) -> Position:
    usual: dict[str, Any] = {
        "label": "WINNER",
        "pending_label": "WINNER",
        "side": 1,
        "quantity": 10.0,
        "first_quantity": 10.0,
        "entry": 100.0,
        "stop": 98.0,
        "risk_per_unit": 2.0,
        "peak_r": 1.0,
        "adds": 0,
        "partial": 0.5,
        "costs": 1.0,
        "bars": 5,
        "advice": "HOLD",
    }
    return Position(**{**usual, **more})


def test_a_label_changes_only_when_two_bars_in_a_row_say_the_same() -> None:
    component: Any = registry.find("trading.position_intelligence")
    one = position(label="SAFE", pending_label="SAFE", peak_r=0.0)
    winner, safe = sight(1.2), sight(0.2)
    seen = [component.classify(one, at) for at in (winner, safe, winner, winner, safe, safe)]
    assert seen == ["SAFE", "SAFE", "SAFE", "WINNER", "WINNER", "SAFE"]
    assert one.peak_r == 1.2


def test_a_short_position_is_seen_the_other_way_round() -> None:
    component: Any = registry.find("trading.position_intelligence")
    short = position(side=-1, stop=102.0)
    found = component.sight(short, 97.0, trend=-0.5)
    assert (found.r, found.trend_up) == (1.5, True)
    assert found.costs == pytest.approx(1.0 / 20.0)


def test_slippage_counts_beside_fees_and_funding() -> None:
    """The risk of the first entry is 20: costs of 1 and a slippage of 5 are 30 % of it."""
    component: Any = registry.find("trading.position_intelligence")
    for slippage, label in ((5.0, Label.SAFE), (5.1, Label.TOXIC)):
        seen = component.sight(position(), 100.0, 0.0, 1.0, slippage)
        assert seen.costs == pytest.approx((1.0 + slippage) / 20.0)
        assert label_of(seen) is label


def test_costs_are_shares_of_the_first_risk_whatever_is_left_of_the_position() -> None:
    component: Any = registry.find("trading.position_intelligence")
    assert component.sight(position(quantity=5.0), 100.0, 0.0).costs == pytest.approx(0.05)


@pytest.mark.parametrize(("trend", "up"), [(0.01, True), (0.0, False), (-0.01, False)])
def test_a_trend_that_stands_still_is_no_winners(
    trend: float,
    up: bool,  # noqa: FBT001  # a column of the table above
) -> None:
    component: Any = registry.find("trading.position_intelligence")
    assert component.sight(position(), 103.0, trend).trend_up is up


def test_a_sights_peak_is_the_highest_of_all_bars_this_one_included() -> None:
    component: Any = registry.find("trading.position_intelligence")
    assert component.sight(position(peak_r=1.0), 103.0, 0.0).peak_r == 1.5
    assert component.sight(position(peak_r=2.0), 103.0, 0.0).peak_r == 2.0


def test_a_position_is_added_to_only_where_its_stop_stays_behind_the_price() -> None:
    """The price is at the entry: what is added has to stop above it to keep the first risk."""
    near = position(entry=100.0, stop=99.9, risk_per_unit=2.0, peak_r=1.0)
    assert propose(near, 99.9, pal_sight(), "NORMAL").move is not Move.ADD
    assert propose(near, 100.0, pal_sight(), "NORMAL").move is Move.ADD


def test_what_is_taken_partly_is_its_share_of_what_is_left() -> None:
    seen = pal_sight(r=3.0, volatility=Volatility.HIGH)
    left = position(quantity=8.0, first_quantity=10.0, partial=0.4, peak_r=3.0)
    assert propose(left, 106.0, seen, "NORMAL").quantity == pytest.approx(3.2)


def test_an_add_is_half_of_the_first_entry_whatever_was_added_or_taken() -> None:
    for quantity in (5.0, 10.0, 15.0):
        found = propose(position(quantity=quantity, adds=1), 104.0, pal_sight(r=2.0), "NORMAL")
        assert (found.move, found.quantity) == (Move.ADD, 5.0)


def test_after_an_add_the_stop_keeps_the_first_entrys_risk_and_not_todays() -> None:
    one = position(quantity=15.0, entry=101.0, stop=98.0)
    stop = pal.stop_after_add(one, 5.0, 105.0)
    average = (15 * 101.0 + 5 * 105.0) / 20
    assert 20 * (average - stop) == pytest.approx(10.0 * 2.0)


def pal_sight(**more: Any) -> pal.Sight:
    usual: dict[str, Any] = {"r": 1.5, "trend": 1.0, "rank": 10.0, "volatility": Volatility.NORMAL}
    return pal.Sight(**{**usual, **more})


def test_the_score_is_the_specifications_sum() -> None:
    assert score_of(pal_sight()) == pytest.approx(30 * 0.3 + 25 + 20 + 15 * 0.9 + 8)
    best = pal_sight(r=9.0, rank=0.0, volatility=Volatility.LOW)
    assert score_of(best) == pytest.approx(100.0)
    given_back = pal_sight(drawdown=0.25)
    assert score_of(pal_sight()) - score_of(given_back) == pytest.approx(10.0)
    wild = pal_sight(volatility=Volatility.HIGH)
    assert score_of(pal_sight()) - score_of(wild) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("held", "seen", "mode", "move"),
    [
        ({}, {}, "NORMAL", Move.ADD),
        ({}, {}, "AGGRESSIVE", Move.ADD),
        ({}, {}, "SAFE", Move.NONE),
        ({}, {}, "CRITICAL", Move.NONE),
        ({"label": "SAFE"}, {}, "NORMAL", Move.NONE),
        ({"peak_r": 1.875}, {}, "NORMAL", Move.ADD),
        ({"peak_r": 1.876}, {}, "NORMAL", Move.NONE),
        ({"adds": 1}, {}, "NORMAL", Move.ADD),
        ({"adds": 2}, {}, "NORMAL", Move.EXTEND),
        ({}, {"trend": 0.0, "rank": 50.0}, "NORMAL", Move.NONE),
        ({}, {"trend": 0.2, "rank": 50.0}, "NORMAL", Move.EXTEND),
        ({"peak_r": 3.0}, {"r": 3.0, "volatility": Volatility.HIGH}, "NORMAL", Move.PARTIAL),
        ({"peak_r": 2.9}, {"r": 2.9, "volatility": Volatility.HIGH}, "NORMAL", Move.ADD),
    ],
)
def test_each_move_has_its_conditions(
    held: dict[str, Any], seen: dict[str, Any], mode: str, move: Move
) -> None:
    at = pal_sight(**seen)
    one = position(**held)
    assert propose(one, 100.0 + 2.0 * at.r, at, mode).move is move


@pytest.mark.parametrize("side", [1, -1])
def test_two_adds_never_risk_more_than_the_first_entry(side: int) -> None:
    one = position(side=side, stop=100.0 - 2.0 * side, peak_r=1.5)
    first_risk = 20.0
    for step in (1, 2):
        price = 100.0 + side * (3.0 + step)
        found = propose(one, price, pal_sight(r=2.0 + step / 2), "NORMAL")
        assert found.move is Move.ADD
        assert found.quantity == 5.0
        whole = one.quantity + found.quantity
        one.entry = (one.quantity * one.entry + found.quantity * price) / whole
        one.quantity, one.adds = whole, step
        assert side * (found.stop - one.stop) >= 0
        one.stop = found.stop
        assert whole * side * (one.entry - one.stop) <= first_risk + 1e-9


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(("age_s", "stale"), [(150, 0), (151, 1)])
def test_the_cycle_counts_labels_and_what_no_bar_has_marked_of_late(age_s: int, stale: int) -> None:
    component: Any = registry.find("trading.position_intelligence")
    amplifier: Any = registry.find("trading.profit_amplification")
    with transaction() as session:
        for number, (label, adds) in enumerate((("WINNER", 2), ("WINNER", 1), ("TOXIC", 0))):
            one = position(label=label, adds=adds)
            one.decision_id, one.symbol = f"d{number}", f"S{number}"
            one.book, one.model, one.take_profit, one.trail = "paper", "m", 120.0, 0.1
            one.confidence, one.mark, one.realised = 0.7, 100.0, 0.0
            one.marked_at = MOMENT - timedelta(seconds=0 if number else age_s)
            session.add(one)
        session.flush()
        seen = component.run(session, MOMENT).observed
        assert (seen["labels"], seen["positions"]) == ({"WINNER": 2, "TOXIC": 1}, 3)
        assert seen["not_marked_of_late"] == stale
        found = amplifier.run(session, MOMENT).observed
        assert (found["winners"], found["open_to_adds"]) == (["S0", "S1"], 1)


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize("name", ["position_intelligence", "profit_amplification"])
def test_the_components_keep_the_contract(name: str) -> None:
    with transaction() as session:
        check_contract(registry.find(f"trading.{name}"), session)
    assert pil.TOXIC_BARS == 15
