"""A book of its own, in memory, in which a journal's cycles happen to positions once more.

Nothing of the positions, orders and reservations that the store has is put into it: a position is
opened from its decision, and what becomes of it follows from bars, policies and directives by the
flow's own code. So a position, an order or a price that was changed afterwards stands alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar, cast

import numpy as np
from sqlalchemy import Table, create_engine, delete, func, select, update
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from homeostat.clock import utcnow
from homeostat.store import trading as store
from homeostat.store.base import Base
from homeostat.store.trading import PAPER, Book, Order, Position, Reservation
from homeostat.trading.flow import exits, opening
from homeostat.trading.flow.batch import Batch
from homeostat.trading.flow.floor import Floor
from homeostat.trading.flow.ground import Ground
from homeostat.trading.model_supervisor import Outcome
from homeostat.trading.portfolio_balancer import Candidate, Growth, Held, Limits, Moves, Verdict
from homeostat.trading.portfolio_balancer import reserved as reservations
from homeostat.trading.portfolio_balancer.admission import Wish, admitted, grown
from homeostat.trading.replay.derive import Cycle, ran_at
from homeostat.trading.replay.recorded import BALANCER, SUPERVISOR, Balancer, Recorded, held_of
from homeostat.trading.venue import Closed

T = TypeVar("T")
GOVERNANCE = "kernels.governance"
#: The answer to an add that nobody asked for then.
NOT_ASKED = "NOT_ASKED_THEN"
_TABLES = tuple(cast("Table", one.__table__) for one in (Book, Order, Position, Reservation))


class Shadow:
    """The book in memory; `outcomes` are what the supervisor would have learnt, by decision."""

    def __init__(self) -> None:
        engine = create_engine("sqlite://", poolclass=StaticPool)
        Base.metadata.create_all(engine, tables=_TABLES)
        self.session = Session(engine, expire_on_commit=False, autoflush=False)
        self.book = store.book_of(self.session, PAPER)
        self.book.equity = 0.0
        self.outcomes: dict[str, Outcome] = {}
        #: When the cycle ran that closed a position, by decision.
        self.closed_at: dict[str, datetime] = {}

    def open_ones(self) -> list[str]:
        """Return the decisions whose positions are open."""
        statement = select(Position.decision_id).where(Position.closed_at.is_(None))
        return list(self.session.scalars(statement.order_by(Position.id)))

    def live(self, cycle: Cycle, ground: Ground, witnesses: Witnesses) -> list[Closed]:
        """Let a cycle happen to the open positions; returns those that it closed."""
        floor = Floor(self.session, cycle.panel, cycle.listed, witnesses, ground)
        began = utcnow()
        done = exits.manage(floor, PAPER)
        self._stamp(cycle, began)
        ran = ran_at(cycle.row.id)
        self.closed_at |= {one.position.decision_id: ran for one in done.closed}
        return done.closed

    def open(
        self, cycle: Cycle, batch: Batch, rows: Sequence[int], ground: Ground, witnesses: Witnesses
    ) -> None:
        """Open these rows of a batch that was derived, from the book that the journal tells of."""
        codes = np.ones_like(batch.codes)
        codes[list(rows)] = 0
        size = np.zeros_like(batch.size)
        part = Batch(
            batch.panel, batch.signals, batch.volatility, batch.barriers, size, codes, ["", "-"]
        )
        began = utcnow()
        cash, equity = self.book.equity, float(cycle.told["book"]["equity"])
        self.book.equity = equity
        desk = opening.Desk(
            self.session,
            cycle.row.id,
            PAPER,
            cycle.listed,
            witnesses,
            cycle.row.due_at,
            locked=True,
        )
        opening.open_trades(part, desk, ground.directive)
        self.book.equity = cash + self.book.equity - equity
        self._stamp(cycle, began)

    def _stamp(self, cycle: Cycle, began: datetime) -> None:
        """Let what was written since bear the time at which the cycle ran."""
        self.session.flush()
        ran = ran_at(cycle.row.id)
        for column in (Order.created_at, Order.updated_at, Reservation.at):
            change = update(column.class_).where(column >= began).values({column.key: ran})
            self.session.execute(change, execution_options={"synchronize_session": False})

    def drop(self, decision: str) -> None:
        """Forget a position that cannot be followed any further."""
        self.session.flush()
        self.session.expire_all()
        self.session.execute(delete(Position).where(Position.decision_id == decision))
        self.session.execute(delete(Reservation).where(Reservation.decision_id == decision))

    def worth(self) -> tuple[float, int, float]:
        """Return cash and open results together, how many positions are open, and the cash."""
        result = Position.side * Position.quantity * (Position.mark - Position.entry)
        statement = select(func.coalesce(func.sum(result), 0.0), func.count())
        floating, count = self.session.execute(statement.where(Position.closed_at.is_(None))).one()
        return self.book.equity + float(floating), int(count), self.book.equity

    def held(self) -> dict[str, Any]:
        """Return what is reserved now, by decision."""
        rows = reservations.in_book(self.session, PAPER)
        return {one.decision_id: one for one in rows}


@dataclass(frozen=True, kw_only=True)
class _Keeper(Balancer):
    """The balancer of the shadow: judges by the book that the journal tells, keeps its own."""

    session: Session
    adds: Callable[[str], Mapping[str, Any] | bool | None]

    def reserve(
        self,
        session: Session,
        book: Book,
        wishes: Sequence[Candidate],
        limits: Limits,
        moves: Moves,
    ) -> list[Verdict]:
        """Return the verdicts of the rules, and note what they let in."""
        verdicts, taken = admitted(wishes, Held(book.equity, self.held, moves), limits)
        if taken:
            reservations.take(session, book.name, taken, limits)
        return verdicts

    def add(
        self,
        session: Session,
        position: Position,
        risk: float,
        notional: float,
        limits: Limits,
        moves: Moves,
        *,
        book: Book,
    ) -> Growth:
        """Return whether there was room to add, by the book that was shown then."""
        decision = position.decision_id
        rows = reservations.in_book(session, book.name)
        own = next(one for one in rows if one.decision_id == decision)
        before = Growth("", own.risk, own.notional, own.margin)
        shown = self.adds(decision)
        if isinstance(shown, Mapping):
            wish, equity = Wish(decision, risk, notional), float(shown["equity"])
            code = grown(wish, held_of(shown), equity, limits, moves)[0]
        else:
            code = "" if shown else NOT_ASKED
        if not code:
            whole = own.notional + notional
            reservations.resize(
                session, decision, risk=risk, notional=whole, margin=whole / limits.leverage
            )
        return before._replace(code=code)

    def withdraw(self, session: Session, decision: str, growth: Growth) -> None:
        """Take back what a reservation grew by."""
        before = {"risk": growth.risk, "notional": growth.notional, "margin": growth.margin}
        if not growth.code:
            reservations.resize(session, decision, **before)

    def release(self, session: Session, decision: str) -> bool:
        """Give a reservation back."""
        return reservations.release(session, decision)


@dataclass(frozen=True)
class _Scribe:
    """Whoever is told of a result: it is noted."""

    outcomes: dict[str, Outcome]

    def learn(self, _session: Session, outcome: Outcome) -> bool:
        """Note what the supervisor would have learnt."""
        self.outcomes[outcome.decision_id] = outcome
        return True

    def record_result(self, *_told: object) -> None:
        """Sums over all trades are nobody's life."""


@dataclass(frozen=True)
class _Verdict:
    allowed: bool


@dataclass(frozen=True)
class _Governance:
    """Governance as its log has it: openings were judged before, adds are looked up."""

    allows: Callable[[str], bool]

    def decide(self, *_session: object, action: str, subject: str, **_more: object) -> _Verdict:
        """Return the verdict that the log tells of."""
        return _Verdict(action == "trade.open" or self.allows(subject))


@dataclass
class Witnesses(Recorded):
    """The parties of positions that live once more.

    `adds` and `allows` answer by decision: what the balancer was shown (or, from an older journal,
    whether it gave room), and whether governance let the add go.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    adds: Callable[[str], Mapping[str, Any] | bool | None] = lambda _one: None
    allows: Callable[[str], bool] = lambda _one: False

    def ask(self, name: str, question: Callable[[Any], T]) -> T | None:
        """Return what the party says; None where it was away then."""
        if name in self.silent:
            return None
        if name == BALANCER:
            shown = self.told.get("book", {"held": []})
            held, merits = held_of(shown), shown.get("merits", {})
            return question(_Keeper(held, merits, session=self.session, adds=self.adds))
        if name == GOVERNANCE:
            return question(_Governance(self.allows))
        return question(_Scribe(self.outcomes if name == SUPERVISOR else {}))
