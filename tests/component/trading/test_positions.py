"""Position intelligence and profit amplification: every threshold from both sides."""

from __future__ import annotations

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
@pytest.mark.parametrize("name", ["position_intelligence", "profit_amplification"])
def test_the_components_keep_the_contract(name: str) -> None:
    with transaction() as session:
        check_contract(registry.find(f"trading.{name}"), session)
    assert pil.TOXIC_BARS == 15
