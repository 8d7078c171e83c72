"""The book's limits, and the first of them that speaks against a candidate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from homeostat.store.trading import Directive
from homeostat.trading.market.panel import Floats
from homeostat.trading.portfolio_balancer.moves import Moves

TIER_BONUS = {"CORE": 20.0, "EXPANSION": 10.0, "MONITORING": 5.0}
#: A first entry takes less than half of what a symbol may hold: a winner is added to twice by half.
FIRST_SHARE = 0.499
#: What the whole book may move by within the time barrier (one deviation, a share of equity).
BOOK_DEVIATION = 0.01


@dataclass(frozen=True)
class Limits:
    """The book's limits as shares of equity; the defaults are the specification's.

    Leverage is the exchange's usual. The specification names marginal variance and no figure;
    `variance` is our own, by Euler's split of a book's variance into what each position brings
    (risk budgeting: Roncalli, 2013). The whole book is allowed a deviation of `BOOK_DEVIATION`
    over the time barrier, which is what one trade risks (`sizes`) and puts the first level of the
    drawdown machine, 5 %, five deviations away. Of eight equal positions each brings an eighth of
    that variance; one that brings twice its share is denied. It binds where the other rules do
    not see it: 65 % of equity held in what moves as one, and 15 % more of the same, pass while
    that moves by less than 1.07 % an hour (0.15² + 2·0.15·0.65 = 0.2175 of its variance).
    """

    positions: int = 8
    total_risk: float = 0.15
    trade_risk: float = 0.02
    symbol: float = 0.30
    cluster: float = 0.40
    net: float = 0.80
    gross: float = 2.0
    leverage: float = 20.0
    variance: float = 2 / 8 * BOOK_DEVIATION**2

    def under(self, directive: Directive) -> Limits:
        """Return the stricter of these limits and the directive's."""
        return replace(
            self,
            positions=min(self.positions, directive.max_positions),
            symbol=min(self.symbol, directive.max_concentration),
            leverage=min(self.leverage, directive.max_leverage),
        )


class Candidate(NamedTuple):
    """A trade that asks for room. `risk` and `notional` are in the quote currency."""

    decision_id: str
    symbol: str
    side: int
    risk: float
    notional: float
    cluster: int = 0
    confidence: float = 0.0
    tier: str = ""
    stability: float = 0.0
    cost: float = 0.0
    performance: float = 0.0

    @property
    def priority(self) -> float:
        """The rank among rivals of the same batch; higher goes first."""
        bonus = TIER_BONUS.get(self.tier, 0.0)
        merits = 10 * self.stability - 5 * self.cost + 10 * self.performance
        return 100 * self.confidence + bonus + merits


class Holding(Protocol):
    """What is held, or asks to be: a reservation's row, or a candidate."""

    @property
    def decision_id(self) -> str:
        """The decision that it belongs to."""

    @property
    def symbol(self) -> str:
        """The symbol held."""

    @property
    def side(self) -> int:
        """1 long, -1 short."""

    @property
    def risk(self) -> float:
        """The loss at the stop."""

    @property
    def notional(self) -> float:
        """The position's value."""

    @property
    def cluster(self) -> int:
        """What it moved with when it was taken."""


class Held:
    """What is reserved at this point of a batch, as running sums.

    With `moves`, clusters are those of the present returns, so that a position that was opened
    in another batch is counted with what it moves with now.
    """

    def __init__(self, equity: float, rows: Iterable[Holding], moves: Moves | None = None) -> None:
        self.equity, self.count, self.moves = equity, 0, moves
        self.risk, self.notional, self.net = 0.0, 0.0, 0.0
        #: Signed notional by symbol.
        self.symbols: dict[str, float] = {}
        self._clusters: dict[int, float] | None = None
        self.rows: list[Holding] = []
        for row in rows:
            self.take(row)

    def take(self, row: Holding) -> None:
        """Add one reservation to the sums."""
        self.count += 1
        self.risk += row.risk
        self.notional += row.notional
        self.net += row.side * row.notional
        self.symbols[row.symbol] = row.side * row.notional
        self.rows.append(row)
        self._clusters = None

    def in_cluster_of(self, one: Holding) -> float:
        """Return the notional that is held in what moves with `one`."""
        if self._clusters is None:
            self._clusters = {}
            for row in self.rows:
                place = self._cluster(row)
                self._clusters[place] = self._clusters.get(place, 0.0) + row.notional
        return self._clusters.get(self._cluster(one), 0.0)

    def added_variance(self, one: Holding) -> float:
        """Return what `one` would add to the book's variance over the time barrier, as a share
        of equity squared; 0 where nothing is known of the returns.
        """
        if self.moves is None:
            return 0.0
        return self.moves.added_variance(one.symbol, one.side * one.notional, self.symbols) / (
            self.equity**2
        )

    def _cluster(self, row: Holding) -> int:
        return row.cluster if self.moves is None else self.moves.cluster_of(row.symbol, row.cluster)


def shut(held: Held, limits: Limits) -> str:
    """Return the code by which the book takes no candidate at all, or an empty text.

    A figure that is no number is within no limit.
    """
    if not (held.equity > 0 and held.risk <= limits.total_risk * held.equity):
        return "CRITICAL_VIOLATIONS"
    return "MAX_POSITIONS_REACHED" if held.count >= limits.positions else ""


def deny_code(one: Holding, held: Held, limits: Limits) -> str:
    """Return the first code that speaks against the candidate, or an empty text."""
    closed = shut(held, limits)
    if one.symbol in held.symbols and closed != "CRITICAL_VIOLATIONS":
        return "POSITION_ALREADY_OPEN"
    return closed or _against(one, held, limits)


def measures(one: Holding, held: Held, limits: Limits) -> Iterator[tuple[str, float, float]]:
    """Yield each rule of size, in its order: its code, what the candidate comes to, the most.

    Clusters and variance are reckoned only for who asks that far.
    """
    equity = held.equity
    notional = held.notional + one.notional
    yield "TOTAL_RISK_EXCEEDED", held.risk + one.risk, limits.total_risk * equity
    yield "TOTAL_RISK_EXCEEDED", one.risk, limits.trade_risk * equity
    yield "INSUFFICIENT_MARGIN", notional / limits.leverage, equity
    yield "SYMBOL_CONCENTRATION", one.notional, limits.symbol * equity
    together = held.in_cluster_of(one) + one.notional
    yield "CLUSTER_CONCENTRATION", together, limits.cluster * equity
    net = abs(held.net + one.side * one.notional)
    yield "NET_EXPOSURE", net, limits.net * equity
    yield "GROSS_EXPOSURE", notional, limits.gross * equity
    yield "MARGINAL_VARIANCE", held.added_variance(one), limits.variance


def _against(one: Holding, held: Held, limits: Limits) -> str:
    # What is no number is not within its limit.
    sizes_of = measures(one, held, limits)
    return next((code for code, found, most in sizes_of if not found <= most), "")


def sizes(
    equity: float, stop: Floats, scale: float, limits: Limits, share: float = 0.01
) -> tuple[Floats, Floats]:
    """Return (risk, notional) of new trades: `share` of equity at risk, times `scale`.

    `stop` (n,) are the stops' distances as fractions of the price. A narrow stop would call for
    more than a first entry may take of its symbol; the trade is then smaller, and so is its risk.
    What is scaled is the size that a trade would have in mode NORMAL; `limits` are those in force.
    """
    usual = Limits()
    first = FIRST_SHARE * min(usual.symbol, usual.cluster)
    wanted = scale * np.minimum(share / stop, first)
    most = np.minimum(limits.trade_risk / stop, min(limits.symbol, limits.cluster))
    notional: Floats = equity * np.minimum(wanted, most)
    return notional * stop, notional
