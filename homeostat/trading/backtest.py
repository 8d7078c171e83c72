"""Runs signals, barriers and the paper venue's own exit rules over recorded data, with all costs.

What comes out is an expectancy with its confidence interval. It claims nothing about profit: an
interval that contains zero says that nothing was shown.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from homeostat.errors import MarketDataError
from homeostat.trading import signals as agents
from homeostat.trading.dynamic_tpsl import (
    HORIZON_BARS,
    Policy,
    expected_volatility,
    tiered,
    volatility_scaled,
)
from homeostat.trading.market import candles
from homeostat.trading.market.panel import BAR_S, Candles, Panel, on_grid
from homeostat.trading.signals import Agent, EwmaModel
from homeostat.trading.venue import SLIPPAGE, TAKER_FEE

WINDOW = 130
#: Half spread that is assumed where the data hold no quotes, and funding per eight hours.
HALF_SPREAD, FUNDING = 0.0001, 0.0001


@dataclass(frozen=True)
class Trade:
    """One trade of a backtest: result in R and as a fraction of the price, after costs."""

    symbol: str
    at: int
    side: int
    rule: str
    r: float
    net: float
    bars: int


@dataclass(frozen=True)
class Result:
    """All trades of one policy over one set of data."""

    policy: str
    trades: list[Trade]
    bars: int

    def as_json(self) -> dict[str, JsonValue]:
        """Return expectancy with its 95 % interval, and how the trades ended."""
        r = np.array([trade.r for trade in self.trades])
        net = np.array([trade.net for trade in self.trades])
        count = len(r)
        mean = float(r.mean()) if count else 0.0
        error = float(r.std(ddof=1)) / math.sqrt(count) if count > 1 else math.inf
        shown = count > 1 and abs(mean) > 1.96 * error
        ends = Counter(trade.rule for trade in self.trades)
        return {
            "policy": self.policy,
            "bars": self.bars,
            "trades": count,
            "expectancy_r": mean,
            "expectancy_r_95": [mean - 1.96 * error, mean + 1.96 * error] if count > 1 else None,
            "mean_net_return": float(net.mean()) if count else 0.0,
            "win_rate": float((r > 0).mean()) if count else None,
            "exits": {rule: ends[rule] / count for rule in sorted(ends)} if count else {},
            "conclusion": (
                "no trades"
                if not count
                else f"an expectancy {'above' if mean > 0 else 'below'} zero was shown"
                if shown
                else "nothing was shown: the interval contains zero"
            ),
        }


def backtest(
    data: Path,
    *,
    policy: Policy = Policy.VOLATILITY,
    floor: float = 0.65,
    model: Agent | None = None,
) -> Result:
    """Trade every series below `data`, one position at a time each; raises MarketDataError."""
    series = candles.read_path(data)
    agent = model or EwmaModel()
    trades: list[Trade] = []
    for one in series:
        trades.extend(_trades(one, policy, floor, agent))
    if not sum(len(one) > WINDOW for one in series):
        raise MarketDataError(
            f"{data} holds no series longer than {WINDOW} bars; name a longer recording."
        )
    return Result(policy.value, trades, sum(len(one) for one in series))


def _trades(one: Candles, policy: Policy, floor: float, agent: Agent) -> list[Trade]:
    found: list[Trade] = []
    end = WINDOW
    while end < len(one) - 1:
        trade = _trade_at(one, end, policy, floor, agent)
        if trade is None:
            end += 5
            continue
        found.append(trade)
        end += trade.bars + 1
    return found


def _trade_at(one: Candles, end: int, policy: Policy, floor: float, agent: Agent) -> Trade | None:
    """Decide as the flow does on the bars before `end`; the entry is the next bar's open."""
    times = one.times[end - WINDOW : end]
    if times[-1] - times[0] != (WINDOW - 1) * BAR_S:
        # A gap inside the window: the flow would abstain.
        return None
    panel = _window(one, end)
    rise = float(agent.rise(panel)[0])
    confidence = max(rise, 1 - rise)
    side = int(np.sign(rise - 0.5))
    if not side or confidence < floor or not np.ptp(panel.close[0, -agents.INPUT_BARS :]) > 0:
        return None
    volatility = float(expected_volatility(panel)[0])
    barriers = (
        tiered(confidence, volatility=volatility)
        if policy is Policy.TIERED
        else volatility_scaled(confidence, volatility)
    )
    return _outcome(one, end, side, barriers.take_profit, barriers.stop_loss)


def _window(one: Candles, end: int) -> Panel:
    cut = slice(end - WINDOW, end)
    part = Candles(one.symbol, *(getattr(one, name)[cut] for name in _FIELDS))
    return on_grid([part], part.times)


_FIELDS = ("times", "open", "high", "low", "close", "volume")


def _outcome(one: Candles, first: int, side: int, take: float, stop: float) -> Trade:
    """Let the bars from `first` on happen, by the paper venue's rules: the stop comes first."""
    cost = HALF_SPREAD + SLIPPAGE
    entry = float(one.open[first]) * (1 + side * cost)
    stop_at, take_at = entry * (1 - side * stop), entry * (1 + side * take)
    last = min(first + HORIZON_BARS, len(one)) - 1
    rule, price, at = "TIME_BARRIER", float(one.close[last]), last
    for bar in range(first, last + 1):
        against, toward = (
            (one.low[bar], one.high[bar]) if side > 0 else (one.high[bar], one.low[bar])
        )
        if side * (against - stop_at) <= 0:
            gapped = side * (one.open[bar] - stop_at) <= 0
            rule, price, at = "STOP_LOSS", float(one.open[bar]) if gapped else stop_at, bar
            break
        if side * (toward - take_at) >= 0:
            rule, price, at = "TAKE_PROFIT", take_at, bar
            break
    out = price * (1 - side * cost)
    crossed = one.times[at] // 28_800 - one.times[first] // 28_800
    gross = side * (out - entry) / entry
    net = gross - TAKER_FEE * (1 + out / entry) - side * FUNDING * float(crossed)
    return Trade(one.symbol, int(one.times[first]), side, rule, net / stop, net, at - first + 1)
