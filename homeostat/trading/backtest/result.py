"""What a backtest shows: expectancy, its interval, how the trades ended, what stopped the rest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import JsonValue
from scipy.special import stdtrit

from homeostat.store.trading.book import FIRST_EQUITY
from homeostat.trading.market.panel import Floats

#: Trades opened within the same four hours of all symbols are not independent of each other.
BLOCK_S = 4 * 3_600


@dataclass(frozen=True)
class Costs:
    """What one trade paid, in R; slippage has the half spread in it, and funding may be earned."""

    fees: float = 0.0
    slippage: float = 0.0
    funding: float = 0.0


@dataclass(frozen=True)
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
        error = _error(r, [trade.at for trade in self.trades])
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
            "conclusion": self._conclusion(mean, error),
        }

    def _costs(self) -> dict[str, JsonValue]:
        """Return what a trade paid on average, in R; the expectancy is after these."""
        count = max(len(self.trades), 1)
        return {
            name: sum(getattr(trade.costs, name) for trade in self.trades) / count
            for name in ("fees", "slippage", "funding")
        }

    def _conclusion(self, mean: float, error: float) -> str:
        if not self.trades:
            if self.excluded:
                rules = ", ".join(sorted(self.excluded))
                return f"no trades; the universe kept symbols out ({rules})"
            return "no trades"
        if abs(mean) <= error:
            return "nothing was shown: the interval contains zero"
        return f"an expectancy {'above' if mean > 0 else 'below'} zero was shown on these data"


def _error(r: Floats, opened: Sequence[int]) -> float:
    """Return the half width of the mean's 95 % interval; infinite where nothing can be said.

    The wider of two: as if all trades were independent, and as if only blocks of hours were.
    """
    count = len(r)
    if count < 2:
        return math.inf
    alone = float(r.std(ddof=1)) / math.sqrt(count)
    blocks = np.array(opened) // BLOCK_S
    _, place = np.unique(blocks, return_inverse=True)
    groups = int(place.max()) + 1
    if groups < 2:
        return _times(count) * alone
    sums = np.bincount(place, weights=r - r.mean())
    together = math.sqrt(float((sums**2).sum()) * groups / (groups - 1)) / count
    return max(_times(count) * alone, _times(groups) * together)


def _times(count: int) -> float:
    """Return Student's 97.5 % point: few trades or few blocks know their own spread badly."""
    return float(stdtrit(count - 1, 0.975))
