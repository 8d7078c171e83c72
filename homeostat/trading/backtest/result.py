"""What a backtest shows: expectancy, its interval, how the trades ended, what stopped the rest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import JsonValue

from homeostat.store.trading.book import FIRST_EQUITY
from homeostat.trading.backtest.interval import conclusion, half_width


@dataclass(frozen=True, slots=True)
class Costs:
    """What one trade paid, in R; slippage has the half spread in it, and funding may be earned."""

    fees: float = 0.0
    slippage: float = 0.0
    funding: float = 0.0


@dataclass(frozen=True, slots=True)
class Trade:
    """One closed trade: result in R and as a fraction of the first notional, after all costs."""

    symbol: str
    at: int
    side: int
    rule: str
    r: float
    net: float
    bars: int
    adds: int = 0
    costs: Costs = Costs()


@dataclass(frozen=True)
class Result:
    """All trades of one policy over one set of data, and what the gates said to the rest."""

    policy: str
    trades: Sequence[Trade]
    bars: int
    series: int = 1
    #: Minutes at which an entry could be made.
    minutes: int = 0
    #: Entries by the rule that decided them, one for each symbol and minute that was asked.
    blocks: Mapping[str, int] = field(default_factory=dict)
    #: Why the universe kept symbols out, one for each symbol and filter.
    excluded: Mapping[str, int] = field(default_factory=dict)
    #: Candle files that were left out, each with the sentence that says why.
    passed_over: Mapping[str, str] = field(default_factory=dict)
    equity: float = FIRST_EQUITY
    drawdown: float = 0.0

    def as_json(self) -> dict[str, JsonValue]:
        """Return expectancy with its 95 % interval, and how the trades ended."""
        r = np.array([trade.r for trade in self.trades])
        net = np.array([trade.net for trade in self.trades])
        count = len(r)
        mean = float(r.mean()) if count else 0.0
        error = half_width(r, [trade.at for trade in self.trades])
        ends = Counter(trade.rule for trade in self.trades)
        known = math.isfinite(error)
        return {
            "policy": self.policy,
            "series": self.series,
            "bars": self.bars,
            "minutes": self.minutes,
            "trades": count,
            "expectancy_r": mean,
            "expectancy_r_95": [mean - error, mean + error] if known else None,
            "mean_net_return": float(net.mean()) if count else 0.0,
            "costs_r": self._costs(),
            "win_rate": float((r > 0).mean()) if count else None,
            "adds": sum(trade.adds for trade in self.trades),
            "exits": {rule: ends[rule] / count for rule in sorted(ends)} if count else {},
            "blocks": dict(sorted(self.blocks.items())),
            "universe_excluded": dict(sorted(self.excluded.items())),
            "return_on_book": self.equity / FIRST_EQUITY - 1,
            "max_drawdown": self.drawdown,
            "passed_over": dict(self.passed_over),
            "conclusion": conclusion(count, mean, error) if count else self._without_trades(),
        }

    def _costs(self) -> dict[str, JsonValue]:
        """Return what a trade paid on average, in R; the expectancy is after these."""
        count = max(len(self.trades), 1)
        return {
            name: sum(getattr(trade.costs, name) for trade in self.trades) / count
            for name in ("fees", "slippage", "funding")
        }

    def _without_trades(self) -> str:
        if self.excluded:
            rules = ", ".join(sorted(self.excluded))
            return f"no trades; the universe kept symbols out ({rules})"
        return "no trades"
