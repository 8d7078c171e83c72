"""The spread is read from the bars: a bounce is seen, an ordinary market is not."""

from __future__ import annotations

import numpy as np

from homeostat.clock import utcnow
from homeostat.settings import settings
from homeostat.trading.market import port
from homeostat.trading.market.panel import Panel
from homeostat.trading.market.spread import widths
from homeostat.trading.position_intelligence import SPREAD_BLOW_OUT


def bouncing(spread: float) -> Panel:
    """Prices that walk, closing at bid or ask by chance; the last 15 bars have that spread."""
    draw = np.random.default_rng(3)
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
    market = port.market(settings())
    panel = market.panel(utcnow(), 240)
    usual = np.array([one.half_spread for one in market.instruments])
    found = widths(panel, list(range(222)), usual)
    assert (found >= 1).all()
    assert (found >= SPREAD_BLOW_OUT).mean() < 0.02


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
