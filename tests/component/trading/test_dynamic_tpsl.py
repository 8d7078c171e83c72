"""Both barrier policies: the seed's rows, every threshold, and two forms that agree."""

from __future__ import annotations

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
