"""Both barrier policies: the seed's rows, every threshold, and two forms that agree."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pytest

from homeostat import registry
from homeostat.settings import settings
from homeostat.store.database import transaction
from homeostat.testing import check_contract
from homeostat.trading import dynamic_tpsl
from homeostat.trading.dynamic_tpsl import (
    BarrierInputError,
    tiered,
    tiered_arrays,
    tpsl,
    volatility_scaled,
    volatility_scaled_arrays,
)
from homeostat.trading.market import port
from homeostat.trading.market.panel import Panel
from tests.market_moment import MOMENT

COUNT = 100_000


@pytest.mark.parametrize(
    ("confidence", "row"),
    [(0.84, (8.3, 7.2, 40)), (0.75, (6.4, 6.9, 50)), (0.60, (5.9, 6.9, 50))],
)
def test_the_seeds_rows_come_out_exactly(confidence: float, row: tuple[float, float, int]) -> None:
    found = tpsl(confidence, policy="tiered")
    assert (found["tp_pct"], found["sl_pct"], found["partial_pct"]) == row


@pytest.mark.parametrize(
    ("confidence", "partial"),
    [(0.8001, 0.40), (0.8, 0.50), (0.6, 0.50), (0.5999, 0.65), (0.4001, 0.65), (0.4, 0.80)],
)
def test_each_tier_begins_where_the_table_says(confidence: float, partial: float) -> None:
    assert tiered(confidence).partial == partial
    assert tiered_arrays(np.array([confidence])).partial[0] == partial


def test_the_clamps_hold_on_both_sides() -> None:
    assert tiered(0.9, score=5.0).take_profit == pytest.approx(0.04 * 1.5 * 1.5)
    assert tiered(0.1, score=0.0).take_profit == 0.03
    assert tiered(0.1).stop_loss == pytest.approx(0.063)
    assert tiered(0.9, volatility=0.1).stop_loss == 0.12
    assert tiered(0.1, volatility=0.0).stop_loss == pytest.approx(0.06 * 1.05 * 0.9)
    assert tiered(0.9, volatility=0.1).trail == 0.03
    assert tiered(0.1, volatility=0.0).trail == pytest.approx(0.0135)


def test_tiered_forms_are_equal_to_the_last_bit() -> None:
    draw = np.random.default_rng(7)
    confidence, score = draw.uniform(0, 1, COUNT), draw.uniform(-2, 2, COUNT)
    spread = draw.uniform(0, 0.1, COUNT)
    arrays = np.array(tiered_arrays(confidence, score, spread))
    inputs = zip(confidence.tolist(), score.tolist(), spread.tolist(), strict=True)
    singly = np.array([tiered(*row) for row in inputs]).T
    assert (arrays == singly).all()


def test_volatility_forms_are_equal_to_the_last_bit() -> None:
    draw = np.random.default_rng(8)
    confidence, spread = draw.uniform(0, 1, COUNT), draw.uniform(0, 0.2, COUNT)
    arrays = np.array(volatility_scaled_arrays(confidence, spread))
    inputs = zip(confidence.tolist(), spread.tolist(), strict=True)
    singly = np.array([volatility_scaled(*row) for row in inputs]).T
    assert (arrays == singly).all()


def test_the_stop_is_clipped_to_three_fees_and_fifteen_percent() -> None:
    assert volatility_scaled(0.5, 0.0).stop_loss == pytest.approx(0.003)
    assert volatility_scaled(0.5, 0.00201).stop_loss > 0.003
    assert volatility_scaled(0.5, 0.099).stop_loss < 0.15
    assert volatility_scaled(0.5, 0.5).stop_loss == 0.15


def test_the_target_is_never_less_than_one_and_a_half_stops_and_the_fee() -> None:
    narrow, wide = volatility_scaled(0.1, 0.01), volatility_scaled(1.0, 0.01)
    assert narrow.take_profit == pytest.approx(1.5 * narrow.stop_loss + 0.001)
    assert wide.take_profit == pytest.approx(0.03)
    assert wide.take_profit > 1.5 * wide.stop_loss + 0.001
    assert wide.trail == pytest.approx(0.6 * wide.stop_loss)


@pytest.mark.parametrize(
    ("confidence", "policy", "volatility"),
    [(1.1, "tiered", None), (-0.1, "tiered", None), (0.5, "guess", None), (0.5, "tiered", -1.0)],
)
def test_an_impossible_input_is_refused(
    confidence: float, policy: str, volatility: float | None
) -> None:
    with pytest.raises(BarrierInputError):
        tpsl(confidence, policy=policy, volatility=volatility)


def test_a_nan_confidence_is_refused() -> None:
    with pytest.raises(BarrierInputError):
        tpsl(float("nan"), policy="tiered")


def walk(steps: list[float], *, reach: float = 0.0) -> Panel:
    """Return one symbol's bars with these log returns, each reaching that far beyond its ends."""
    close = 100 * np.exp(np.cumsum([0.0, *steps]))[None, :]
    opened = np.concatenate([close[:, :1], close[:, :-1]], axis=1)
    high, low = np.maximum(opened, close) + reach, np.minimum(opened, close) - reach
    times = 60 * np.arange(close.shape[1], dtype=np.int64)
    return Panel(("A",), times, opened, high, low, close, np.ones_like(close))


def expected(panel: Panel, **more: int) -> float:
    return float(dynamic_tpsl.expected_volatility(panel, **more)[0])


def test_volatility_is_the_ewma_of_120_returns_over_the_horizon() -> None:
    draw = np.random.default_rng(9).normal(0, 0.001, 200)
    weights = [0.94**age for age in range(120)]
    recent = draw[::-1][:120]
    variance = sum(w * r * r for w, r in zip(weights, recent, strict=True)) / sum(weights)
    panel = walk(draw.tolist())
    assert expected(panel) == pytest.approx(math.sqrt(variance * 60))
    assert expected(panel, horizon=15) == pytest.approx(math.sqrt(variance * 15))


def test_volatility_is_the_mean_true_range_of_14_bars_where_that_is_wider() -> None:
    draw = np.random.default_rng(9).normal(0, 0.001, 200)
    panel = walk(draw.tolist(), reach=5.0)
    # Outside of the fourteen nothing is that wide, and the true range begins at the close before.
    panel.high[0, :-14], panel.low[0, :-14] = panel.close[0, :-14], panel.close[0, :-14]
    panel.high[0, -14], panel.low[0, -14] = 120.0, 119.0
    before, high, low = panel.close[0, -15:-1], panel.high[0, -14:], panel.low[0, -14:]
    ranges = np.maximum(high, before) - np.minimum(low, before)
    assert ranges[0] == pytest.approx(120.0 - before[0])
    assert expected(panel) == pytest.approx(ranges.sum() / 14 / panel.close[0, -1])


def test_a_bar_that_is_missing_in_what_is_read_leaves_no_volatility() -> None:
    draw = np.random.default_rng(9).normal(0, 0.001, 200)
    for back, known in ((121, False), (122, True)):
        panel = walk(draw.tolist())
        panel.close[0, -back] = np.nan
        assert np.isfinite(expected(panel)) == known


@pytest.mark.parametrize(
    ("confidence", "row"),
    [
        (0.81, (1.5, 1.2, 1.2, 0.40)),
        (0.80, (1.2, 1.15, 1.0, 0.50)),
        (0.60, (1.2, 1.15, 1.0, 0.50)),
        (0.59, (1.0, 1.1, 0.9, 0.65)),
        (0.41, (1.0, 1.1, 0.9, 0.65)),
        (0.40, (0.75, 1.05, 0.75, 0.80)),
    ],
)
def test_each_tier_multiplies_the_bases_as_the_table_says(
    confidence: float, row: tuple[float, ...]
) -> None:
    """With a score of 0.3 the reach is 1.01, and no clamp but the lowest target's is met."""
    found = tiered(confidence, score=-0.3)
    take, stop, trail, partial = row
    assert found.take_profit == pytest.approx(max(0.04 * take * 1.01, 0.03))
    assert found.stop_loss == pytest.approx(0.06 * stop)
    assert found.trail == pytest.approx(0.02 * trail)
    assert found.partial == partial


@pytest.mark.parametrize("confidence", [0.0, 0.3, 0.6, 0.9, 1.0])
def test_a_stop_follows_volatility_and_gives_a_sure_signal_less(confidence: float) -> None:
    found = volatility_scaled(confidence, 0.02)
    assert found.stop_loss == pytest.approx(1.5 * 0.02 * (1.3 - 0.6 * confidence))
    reach = (1 + 2 * confidence) * 0.02
    assert found.take_profit == pytest.approx(max(reach, 1.5 * found.stop_loss + 0.001))
    assert found.partial == tiered(confidence).partial


@pytest.mark.parametrize(("volatility", "said"), [(0.0, True), (9.99, True), (10.0, False)])
def test_a_volatility_in_percent_is_refused(
    volatility: float,
    said: bool,  # noqa: FBT001  # a column of the table above
) -> None:
    if said:
        assert tpsl(0.5, policy="volatility", volatility=volatility)
        return
    with pytest.raises(BarrierInputError):
        tpsl(0.5, policy="volatility", volatility=volatility)


def test_222_symbols_are_done_in_one_call_and_follow_their_volatility() -> None:
    now = MOMENT
    panel = port.market(settings()).panel(now, 130)
    volatility = dynamic_tpsl.expected_volatility(panel)
    found = volatility_scaled_arrays(np.full(222, 0.7), volatility)
    assert len(found.stop_loss) == 222
    order = np.argsort(volatility)
    assert (np.diff(found.stop_loss[order]) >= 0).all()
    earlier = port.market(settings()).panel(now - timedelta(hours=5), 130)
    assert not np.array_equal(volatility, dynamic_tpsl.expected_volatility(earlier))


@pytest.mark.usefixtures("sqlite_store")
def test_the_component_keeps_the_contract() -> None:
    with transaction() as session:
        evidence = check_contract(registry.find("trading.dynamic_tpsl"), session)
    assert evidence.observed["forms_equal"] is True
