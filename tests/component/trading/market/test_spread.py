"""The spread is read from the bars: a bounce is seen, an ordinary market is not."""

from __future__ import annotations

import numpy as np
import pytest

from homeostat.settings import settings
from homeostat.trading.market import port
from homeostat.trading.market.panel import Panel
from homeostat.trading.market.spread import widths
from homeostat.trading.position_intelligence import SPREAD_BLOW_OUT


def bouncing(spread: float, seed: int = 3) -> Panel:
    """Prices that walk, closing at bid or ask by chance; the last 15 bars have that spread."""
    draw = np.random.default_rng(seed)
    middle = 100 * np.exp(np.cumsum(draw.normal(0, 0.0005, (1, 240)), axis=1))
    wide = np.where(np.arange(240) >= 225, spread, 0.0002)
    close = middle * (1 + draw.choice((-0.5, 0.5), (1, 240)) * wide)
    high, low = middle * (1 + wide / 2), middle * (1 - wide / 2)
    return Panel(("A",), 60 * np.arange(240), middle, high, low, close, np.ones((1, 240)))


def test_a_blown_out_spread_is_seen_and_a_usual_one_is_not() -> None:
    usual = np.array([0.0001])
    assert widths(bouncing(0.0002), [0], usual)[0] < SPREAD_BLOW_OUT
    assert widths(bouncing(0.02), [0], usual)[0] >= SPREAD_BLOW_OUT


def test_an_ordinary_market_raises_no_alarm() -> None:
    # All of the strip, not the minutes of the moment: its bursts are where a rule errs.
    market = port.market(settings())
    usual = np.array([one.half_spread for one in market.instruments])
    moments = (port.moment_of(60 * minute) for minute in range(0, 2_880, 20))
    found = np.array([widths(market.panel(at, 240), range(222), usual) for at in moments])
    assert (found >= 1).all()
    assert (found >= SPREAD_BLOW_OUT).mean() < 1 / 500
    assert (found >= SPREAD_BLOW_OUT).mean(axis=1).max() < 0.02


def test_ten_usual_spreads_are_seen_among_ordinary_moves() -> None:
    found = [widths(bouncing(0.002, seed), [0], np.array([0.0001]))[0] for seed in range(50)]
    assert np.mean(np.array(found) >= SPREAD_BLOW_OUT) > 0.95


def test_a_single_bar_shows_no_spread() -> None:
    panel = bouncing(0.02)
    for array in (panel.high, panel.low, panel.close):
        array[:, -15:-2] = np.nan
    assert widths(panel, [0], np.array([0.0001]))[0] == 1.0


@pytest.mark.parametrize("bar", [-4, -60])
def test_a_bar_that_is_missing_hides_no_spread(bar: int) -> None:
    panel = bouncing(0.02)
    for array in (panel.high, panel.low, panel.close):
        array[:, bar] = np.nan
    assert widths(panel, [0], np.array([0.0001]))[0] >= SPREAD_BLOW_OUT


def test_missing_bars_are_taken_as_usual() -> None:
    panel = bouncing(0.02)
    for array in (panel.high, panel.low, panel.close):
        array[:, -16:] = np.nan
    assert widths(panel, [0], np.array([0.0001]))[0] == 1.0


def test_a_spread_that_is_nowhere_to_be_measured_is_usual() -> None:
    still = bouncing(0.0002)
    for array in (still.high, still.low, still.close):
        array[:] = 100.0
    assert widths(still, [0], np.array([0.0]))[0] == 1.0
