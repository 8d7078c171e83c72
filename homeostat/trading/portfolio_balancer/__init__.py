"""What may be risked: reservations before each trade, and the balance of what is held.

A reservation locks the book's row until the commit, so whatever number of processes ask at once,
each sees what those before it were given. Exposures are shares of equity.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.clock import new_id
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.store import trading as store
from homeostat.store.trading import Book, Order, Position, Reservation
from homeostat.trading.market import port
from homeostat.trading.market.panel import Floats, Instrument, Panel
from homeostat.trading.portfolio_balancer import reserved
from homeostat.trading.portfolio_balancer.admission import Growth, Verdict, Wish, admitted, grown
from homeostat.trading.portfolio_balancer.balance import risk_parity, shrunk_covariance
from homeostat.trading.portfolio_balancer.limits import (
    Candidate,
    Held,
    Limits,
    shut,
    sizes,
)
from homeostat.trading.portfolio_balancer.merits import Merit, merits
from homeostat.trading.portfolio_balancer.moves import Moves

__all__ = [
    "Candidate",
    "Growth",
    "Held",
    "Limits",
    "Merit",
    "Moves",
    "PortfolioBalancer",
    "Verdict",
    "risk_parity",
    "shrunk_covariance",
    "sizes",
]

#: A held weight this many times its balanced one is worth a word.
OVERWEIGHT = 1.5


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
        book: str | Book,
        candidates: Sequence[Candidate],
        limits: Limits | None = None,
        moves: Moves | None = None,
    ) -> list[Verdict]:
        """Reserve room for the candidates in order of priority, cumulatively, until the commit.

        Returns one verdict each, in that order. A decision that holds a reservation already is
        given its old verdict, so that a redelivered message reserves nothing twice. `moves` is
        how the symbols move; without it clusters are the candidates' own, and no variance is
        reckoned. A book that is given as its row is locked by the caller already.
        """
        bounds = limits or Limits()
        row = store.book_of(session, book, lock=True) if isinstance(book, str) else book
        row.version += 1
        held = Held(row.equity, reserved.in_book(session, row.name), moves)
        verdicts, taken = admitted(candidates, held, bounds)
        if taken:
            reserved.take(session, row.name, taken, bounds)
        return verdicts

    def shut(self, session: Session, book: str, equity: float, limits: Limits) -> tuple[str, Held]:
        """Return the code by which the book takes no candidate at all, and what is held in it.

        With an empty code there may be room, and `reserve` is to be asked. A candidate for a
        symbol that is held is denied as POSITION_ALREADY_OPEN, unless the code is
        CRITICAL_VIOLATIONS.
        """
        held = Held(equity, reserved.in_book(session, book))
        return shut(held, limits), held

    def merits(
        self,
        session: Session,
        panel: Panel,
        rows: NDArray[np.intp],
        stops: Floats,
        listed: Sequence[Instrument],
    ) -> list[Merit]:
        """Return what speaks for each of these rivals besides their confidence.

        `stops` (k,) are their stops' distances as fractions of the price.
        """
        return merits(session, panel, rows, stops, listed)

    def add(
        self,
        session: Session,
        position: Position,
        risk: float,
        notional: float,
        limits: Limits | None = None,
        moves: Moves | None = None,
        *,
        book: Book | None = None,
    ) -> Growth:
        """Ask for room to add `notional` to a position, whose whole risk is then `risk`.

        The position's own reservation grows, and what it becomes has to pass every rule of an
        entry of that size: its symbol is open by intent, everything else counts. What the answer
        holds is given to `withdraw` where the order is not filled. A book that is given as its row
        is locked by the caller already.
        """
        bounds = limits or Limits()
        row = book or store.book_of(session, position.book, lock=True)
        rows = reserved.in_book(session, row.name)
        own = next((one for one in rows if one.decision_id == position.decision_id), None)
        before = Growth("", own.risk, own.notional, own.margin) if own else Growth("")
        wish = Wish(position.decision_id, risk, notional)
        code, whole = grown(wish, rows, row.equity, bounds, moves)
        if whole is not None and not code:
            margin = whole.notional / bounds.leverage
            reserved.resize(
                session, whole.decision_id, risk=risk, notional=whole.notional, margin=margin
            )
        return before._replace(code=code, held=rows)

    def hold(self, session: Session, position: Position) -> None:
        """Reserve what a position has come to at the venue: nobody was asked, and it is so.

        What is reserved never shrinks by it.
        """
        rows = reserved.in_book(session, position.book)
        own = next((one for one in rows if one.decision_id == position.decision_id), None)
        if own is None:
            return
        notional = max(own.notional, position.quantity * position.entry)
        loss = position.side * (position.entry - position.stop) * position.quantity
        margin = own.margin * notional / own.notional
        risk = max(own.risk, loss)
        reserved.resize(session, own.decision_id, risk=risk, notional=notional, margin=margin)

    def withdraw(self, session: Session, decision_id: str, growth: Growth) -> None:
        """Take back what `add` let a reservation grow by: its order was not filled."""
        if not growth.code:
            before = {"risk": growth.risk, "notional": growth.notional, "margin": growth.margin}
            reserved.resize(session, decision_id, **before)

    def release(self, session: Session, decision_id: str) -> bool:
        """Give a reservation back; False where none is held."""
        return reserved.release(session, decision_id)

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
