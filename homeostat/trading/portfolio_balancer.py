"""What may be risked: reservations before each trade, and the balance of what is held.

A reservation locks the book's row until the commit, so whatever number of processes ask at once,
each sees what those before it were given. Exposures are shares of equity.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.clock import new_id
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.store import trading as store
from homeostat.store.trading import Directive, Order, Position, Reservation
from homeostat.trading.market import port
from homeostat.trading.market.panel import Floats

TIER_BONUS = {"CORE": 20.0, "EXPANSION": 10.0, "MONITORING": 5.0}
#: A returns' correlation from which two symbols are one cluster.
CLUSTER_CORRELATION = 0.7
#: A held weight this many times its balanced one is worth a word.
OVERWEIGHT = 1.5
#: A first entry takes less than half of what a symbol may hold: a winner is added to twice by half.
FIRST_SHARE = 0.499
HELD, RELEASED = "HELD", "RELEASED"


@dataclass(frozen=True)
class Limits:
    """The book's limits; the defaults are the specification's, leverage the exchange's usual."""

    positions: int = 8
    total_risk: float = 0.15
    trade_risk: float = 0.02
    symbol: float = 0.30
    cluster: float = 0.40
    net: float = 0.80
    gross: float = 2.0
    leverage: float = 20.0

    def under(self, directive: Directive) -> Limits:
        """Return the stricter of these limits and the directive's."""
        return replace(
            self,
            positions=min(self.positions, directive.max_positions),
            symbol=min(self.symbol, directive.max_concentration),
            leverage=min(self.leverage, directive.max_leverage),
        )


@dataclass(frozen=True)
class Candidate:
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


@dataclass(frozen=True)
class Verdict:
    """What became of a candidate: `code` is empty where its room was reserved."""

    candidate: Candidate
    code: str = ""


class _Held:
    """What is reserved at this point of a batch, as running sums."""

    def __init__(self, equity: float, rows: Iterable[Reservation]) -> None:
        self.equity, self.count = equity, 0
        self.risk, self.notional, self.net = 0.0, 0.0, 0.0
        self.symbols: set[str] = set()
        self.clusters: dict[int, float] = {}
        for row in rows:
            self.take(row)

    def take(self, row: Reservation | Candidate) -> None:
        """Add one reservation to the sums."""
        self.count += 1
        self.risk += row.risk
        self.notional += row.notional
        self.net += row.side * row.notional
        self.symbols.add(row.symbol)
        self.clusters[row.cluster] = self.clusters.get(row.cluster, 0.0) + row.notional


def size(
    equity: float, stop: float, scale: float, limits: Limits, share: float = 0.01
) -> tuple[float, float]:
    """Return (risk, notional) of a new trade: `share` of equity at risk, within symbol's cap.

    `stop` is the stop's distance as a fraction of the price. A narrow stop would call for more
    than the cap allows; the trade is then smaller, and so is its risk.
    """
    wanted = min(share * scale, limits.trade_risk) * equity
    most = FIRST_SHARE * min(limits.symbol, limits.cluster) * equity
    notional = min(wanted / stop, most)
    return notional * stop, notional


def deny_code(one: Candidate, held: _Held, limits: Limits) -> str:
    """Return the first code that speaks against the candidate, or an empty text."""
    equity = held.equity
    notional = held.notional + one.notional
    risk = held.risk + one.risk
    if equity <= 0 or held.risk > limits.total_risk * equity:
        return "CRITICAL_VIOLATIONS"
    if one.symbol in held.symbols:
        return "POSITION_ALREADY_OPEN"
    if held.count >= limits.positions:
        return "MAX_POSITIONS_REACHED"
    if risk > limits.total_risk * equity or one.risk > limits.trade_risk * equity:
        return "TOTAL_RISK_EXCEEDED"
    if notional / limits.leverage > equity:
        return "INSUFFICIENT_MARGIN"
    if one.notional > limits.symbol * equity:
        return "SYMBOL_CONCENTRATION"
    if held.clusters.get(one.cluster, 0.0) + one.notional > limits.cluster * equity:
        return "CLUSTER_CONCENTRATION"
    if abs(held.net + one.side * one.notional) > limits.net * equity:
        return "NET_EXPOSURE"
    return "GROSS_EXPOSURE" if notional > limits.gross * equity else ""


def clusters(returns: Floats) -> list[int]:
    """Return each row's cluster: that of the first row it is strongly correlated with."""
    filled = np.nan_to_num(returns)
    filled = filled - filled.mean(axis=1, keepdims=True)
    unit = (filled / np.maximum(np.linalg.norm(filled, axis=1, keepdims=True), 1e-300)).astype("f4")
    alike = unit @ unit.T >= CLUSTER_CORRELATION
    return [
        int(np.argmax(alike[row, : row + 1])) if alike[row].any() else row
        for row in range(len(alike))
    ]


def shrunk_covariance(returns: Floats) -> Floats:
    """Return the (n, n) covariance of (n, t) returns shrunk to its diagonal.

    The intensity is that of Schäfer and Strimmer (2005) for the target of unequal variances.
    """
    centred = returns - returns.mean(axis=1, keepdims=True)
    count = returns.shape[1]
    sample = centred @ centred.T / (count - 1)
    off = ~np.eye(len(returns), dtype=bool)
    products = np.einsum("it,jt->ijt", centred, centred)
    noise = (
        count / (count - 1) ** 3 * ((products - products.mean(axis=2, keepdims=True)) ** 2).sum(2)
    )
    signal = float((sample[off] ** 2).sum())
    intensity = min(1.0, float(noise[off].sum()) / signal) if signal else 1.0
    shrunk: Floats = np.where(off, (1 - intensity) * sample, sample)
    return shrunk


def risk_parity(covariance: Floats) -> Floats:
    """Return hierarchical risk parity weights (López de Prado, 2016); they sum to one."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    count = len(covariance)
    if count < 2:
        return np.ones(count)
    deviation = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(deviation, deviation)
    distance = np.sqrt(np.clip((1 - correlation) / 2, 0, 1))
    np.fill_diagonal(distance, 0.0)
    order = leaves_list(linkage(squareform(distance, checks=False), "single")).astype(np.intp)
    weights = np.ones(count)
    groups = [order]
    while groups:
        halves = [(g[: len(g) // 2], g[len(g) // 2 :]) for g in groups if len(g) > 1]
        for left, right in halves:
            share = 1 - _variance(covariance, left) / (
                _variance(covariance, left) + _variance(covariance, right)
            )
            weights[left] *= share
            weights[right] *= 1 - share
        groups = [half for pair in halves for half in pair]
    return weights


def _variance(covariance: Floats, members: np.typing.NDArray[np.intp]) -> float:
    part = covariance[np.ix_(members, members)]
    inverse = 1 / np.diag(part)
    weights = inverse / inverse.sum()
    return float(weights @ part @ weights)


class PortfolioBalancer(Component):
    """Reserves risk and margin before each trade, and weighs what is held."""

    spec = ComponentSpec(
        name="portfolio_balancer",
        wing=Wing.TRADING,
        tier=6,
        summary="Reserves risk and margin before each trade, and keeps the book in balance.",
    )

    def reserve(
        self,
        session: Session,
        book: str,
        candidates: Sequence[Candidate],
        limits: Limits | None = None,
    ) -> list[Verdict]:
        """Reserve room for the candidates in order of priority, cumulatively, until the commit.

        Returns one verdict each, in that order. A decision that holds a reservation already is
        given its old verdict, so that a redelivered message reserves nothing twice.
        """
        bounds = limits or Limits()
        row = store.book_of(session, book, lock=True)
        row.version += 1
        statement = select(Reservation).where(Reservation.book == book, Reservation.state == HELD)
        rows = session.scalars(statement).all()
        held = _Held(row.equity, rows)
        known = {one.decision_id for one in rows}
        verdicts = []
        for candidate in sorted(candidates, key=lambda one: -one.priority):
            if candidate.decision_id in known:
                verdicts.append(Verdict(candidate))
                continue
            code = deny_code(candidate, held, bounds)
            verdicts.append(Verdict(candidate, code))
            if not code:
                held.take(candidate)
                session.add(_row(candidate, book, bounds))
                known.add(candidate.decision_id)
        session.flush()
        return verdicts

    def add(self, session: Session, position: Position, risk: float, notional: float) -> str:
        """Ask for room to add to a position; returns the code that denies it, or an empty text.

        The position's own reservation grows: its symbol is open by intent.
        """
        row = store.book_of(session, position.book, lock=True)
        statement = select(Reservation).where(
            Reservation.book == position.book, Reservation.state == HELD
        )
        rows = list(session.scalars(statement))
        own = next((one for one in rows if one.decision_id == position.decision_id), None)
        if own is None:
            return "CRITICAL_VIOLATIONS"
        others = _Held(row.equity, [one for one in rows if one is not own])
        whole = Candidate(
            own.decision_id, own.symbol, own.side, risk, own.notional + notional, own.cluster
        )
        code = deny_code(whole, others, Limits())
        if not code:
            own.risk, own.notional = risk, own.notional + notional
            own.margin = own.notional / Limits().leverage
            session.flush()
        return code

    def release(self, session: Session, decision_id: str) -> bool:
        """Give a reservation back; False where none is held."""
        own = session.get(Reservation, decision_id)
        if own is None or own.state != HELD:
            return False
        own.state = RELEASED
        session.flush()
        return True

    def probe(self, session: Session) -> Evidence:
        """Reserve for a batch that asks for too much, and see the sums within every limit."""
        watch = Stopwatch()
        savepoint = session.begin_nested()
        book = f"p{new_id()[-8:]}"
        wishes = [
            Candidate(f"probe.{book}.{n}", f"S{n}", 1 if n % 2 else -1, 150.0, 2_000.0, cluster=n)
            for n in range(12)
        ]
        verdicts = self.reserve(session, book, wishes)
        statement = select(func.count(), func.sum(Reservation.risk)).where(Reservation.book == book)
        count, risk = session.execute(statement).one()
        denied = sorted({verdict.code for verdict in verdicts if verdict.code})
        savepoint.rollback()
        return Evidence(
            claim="a batch that asks for too much is cut at the limits",
            passed=0 < count <= 8 and float(risk) <= 1_500.0 and bool(denied),
            observed={"asked": 12, "reserved": count, "risk": float(risk), "denied": list(denied)},
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Weigh the book: exposures against limits, and the held weights against risk parity."""
        positions = list(store.open_positions(session, store.PAPER))
        book = store.book_of(session, store.PAPER)
        gross = sum(abs(one.quantity * one.mark) for one in positions)
        net = sum(one.side * one.quantity * one.mark for one in positions)
        statement = select(func.count()).select_from(Order).where(Order.state == "UNKNOWN")
        overweight = self._overweight(positions, due_at)
        version = store.acknowledge(session, self.spec.full_name)
        return CycleResult(
            work=1 + len(positions),
            observed={
                "positions": len(positions),
                "gross": round(gross / book.equity, 4),
                "net": round(net / book.equity, 4),
                "overweight": list(overweight),
                "unknown_orders": int(session.scalar(statement) or 0),
                "directive": version,
            },
        )

    def _overweight(self, positions: Sequence[Position], at: datetime) -> list[str]:
        if len(positions) < 2:
            return []
        panel = port.market(self.context.settings).panel(at, 240)
        known = [one for one in positions if one.symbol in panel.symbols]
        rows = [panel.symbols.index(one.symbol) for one in known]
        returns = np.nan_to_num(panel.log_returns()[rows])
        if len(known) < 2 or not (returns.std(axis=1) > 0).all():
            return []
        weights = np.array([one.quantity * one.mark for one in known])
        balanced = risk_parity(shrunk_covariance(returns))
        shares = weights / weights.sum()
        return [
            one.symbol
            for one, share, fair in zip(known, shares, balanced, strict=True)
            if share > OVERWEIGHT * fair
        ]


def _row(candidate: Candidate, book: str, limits: Limits) -> Reservation:
    return Reservation(
        decision_id=candidate.decision_id,
        book=book,
        symbol=candidate.symbol,
        side=candidate.side,
        cluster=candidate.cluster,
        risk=candidate.risk,
        margin=candidate.notional / limits.leverage,
        notional=candidate.notional,
        state=HELD,
    )
