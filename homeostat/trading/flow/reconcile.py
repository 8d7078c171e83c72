"""The venue is the truth: what it holds against what our book says, then adopt or flatten.

Runs after every restart and every unknown outcome, and once a minute besides. Orders whose end
is unknown are settled first. What the venue holds is read before the book, so that whatever was
sent in between is in the book and is left alone this time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import JsonValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.store import controls
from homeostat.store import trading as store
from homeostat.store.trading import PAPER, Order, Position, client_order_id
from homeostat.trading.flow import accounting, errands, settling
from homeostat.trading.flow.errands import Unit
from homeostat.trading.flow.ground import VENUE_RECONCILED
from homeostat.trading.flow.parties import Parties
from homeostat.trading.venue import intent
from homeostat.trading.venue.exchange import Exchange
from homeostat.trading.venue.outcomes import VenueError
from homeostat.trading.venue.paper import TAKER_FEE
from homeostat.trading.venue.tickets import Holding, Ticket

#: What an order of this age has done stands in every later answer of the venue.
SEEN_AFTER = timedelta(seconds=3)
#: So many orders without an answer in a row end the settling for this time: each may take 20 s.
MOST_MISSED = 5
#: A reconciliation lets entries go out until three of its beats have passed.
ATTESTED_FOR = timedelta(seconds=180)
#: Quantities that differ by less than this share are the same.
SAME = 1e-6


@dataclass
class Reconciled:
    """What was found and done; `unsettled` orders are left for the next time."""

    settled: int = 0
    unsettled: list[str] = field(default_factory=list)
    closed: dict[str, str] = field(default_factory=dict)
    adopted: dict[str, float] = field(default_factory=dict)
    flattened: dict[str, float] = field(default_factory=dict)
    protected: list[str] = field(default_factory=list)
    swept: int = 0
    funding: dict[str, float] = field(default_factory=dict)
    #: What our book said beyond the venue's wallet, before it was set right.
    equity_gap: float = 0.0
    waiting: str = ""

    def as_json(self) -> dict[str, JsonValue]:
        """Return it for logs and the ledger."""
        return dict(vars(self))


def reconcile(unit: Unit, exchange: Exchange) -> Reconciled:
    """Bring book and venue together; a venue that does not answer is noted as `waiting`."""
    done = Reconciled()
    with unit() as session:
        wanted = errands.unsettled(session)
    missed = 0
    for client_id in wanted:
        if missed == MOST_MISSED:
            done.unsettled.append(client_id)
            continue
        state = settling.settle(unit, exchange, client_id)
        if state in intent.UNSETTLED:
            done.unsettled.append(client_id)
            missed += 1
        else:
            done.settled += 1
            missed = 0
    try:
        _positions(unit, exchange, done)
        done.funding = accounting.book_incomes(unit, exchange)
        done.equity_gap = accounting.adopt_equity(unit, exchange)
        _attest(unit)
    except VenueError as error:
        done.waiting = str(error)
        if until := exchange.guard.wait_until():
            with unit() as session:
                settling.note_wait(session, until)
    return done


def _attest(unit: Unit) -> None:
    """Let entries go out: book and venue were seen to agree."""
    with unit() as session:
        controls.set_on(
            session,
            VENUE_RECONCILED,
            actor="trading.venue",
            reason="book and venue were brought together",
            until=utcnow() + ATTESTED_FOR,
        )


def _positions(unit: Unit, exchange: Exchange, done: Reconciled) -> None:
    began = utcnow()
    there = exchange.holdings()
    resting = {one.client_id: one.quantity for one in exchange.resting()}
    with unit() as session:
        ours = {one.symbol: one.id for one in store.open_positions(session, PAPER)}
        busy = _busy(session, began)
    for symbol, position_id in ours.items():
        if symbol not in busy:
            _one(unit, exchange, position_id, there.get(symbol), resting, done)
    for symbol, holding in there.items():
        if symbol not in ours and symbol not in busy:
            _flatten(unit, exchange, holding, done)
    _sweep(unit, exchange, done)


def _busy(session: Session, began: datetime) -> set[str]:
    """Return the symbols whose market orders are under way, or were while we looked."""
    market = Order.kind.not_in(("STOP", "TAKE_PROFIT"))
    recent = Order.updated_at > began - SEEN_AFTER
    statement = select(Order.symbol).where(
        Order.book == PAPER, market, Order.state.in_(intent.UNSETTLED) | recent
    )
    return set(session.scalars(statement))


def _one(
    unit: Unit,
    exchange: Exchange,
    position_id: str,
    holding: Holding | None,
    resting: Mapping[str, float],
    done: Reconciled,
) -> None:
    """Bring one open position in line with what the venue holds of it."""
    with unit() as session:
        position = session.get_one(Position, position_id)
        decision, wanted = position.decision_id, position.side * position.quantity
        stops = {
            kind: session.get(Order, client_order_id(decision, kind))
            for kind in ("STOP", "TAKE_PROFIT")
        }
        tickets = {
            kind: errands.ticket_of(order) for kind, order in stops.items() if order is not None
        }
    if holding is None:
        _gone(unit, exchange, position_id, tickets, done)
        return
    if holding.quantity * wanted < 0:
        # The other way round is nothing that we ever wanted.
        _end(unit, position_id, holding.entry, "FLATTENED", done)
        _flatten(unit, exchange, holding, done)
        return
    if holding.quantity != wanted:
        _adopt(unit, position_id, holding)
    if abs(holding.quantity - wanted) > SAME * abs(wanted):
        done.adopted[holding.symbol] = holding.quantity
    for kind in stops:
        if not _covered(tickets.get(kind), resting, abs(holding.quantity)):
            _protect(unit, exchange, position_id, kind, done)


def _adopt(unit: Unit, position_id: str, holding: Holding) -> None:
    """Take the size over that the venue holds: what was added by hand is averaged in.

    Its stop stays where it is, so more is at risk than the first R: the balancer is told, and has
    less room for others.
    """
    with unit() as session:
        book = store.book_of(session, PAPER, lock=True)
        position = session.get_one(Position, position_id, populate_existing=True)
        whole = abs(holding.quantity)
        if position.closed_at is not None:
            return
        if whole > position.quantity * (1 + SAME):
            paid = whole * holding.entry - position.quantity * position.entry
            fee = TAKER_FEE * abs(paid)
            position.entry, position.costs = holding.entry, position.costs + fee
            book.equity -= fee
            position.quantity = whole
            Parties(session).ask(
                "trading.portfolio_balancer", lambda pba: pba.hold(session, position)
            )
        position.quantity = whole


def _covered(ticket: Ticket | None, resting: Mapping[str, float], whole: float) -> bool:
    """Return whether an order rests that takes the whole of a position off."""
    if ticket is None or ticket.client_id not in resting:
        return False
    return resting[ticket.client_id] >= whole * (1 - SAME)


def _gone(
    unit: Unit,
    exchange: Exchange,
    position_id: str,
    tickets: Mapping[str, Ticket],
    done: Reconciled,
) -> None:
    """Close in the book what the venue holds no more, by the order that took it."""
    for rule, kind in (("STOP_LOSS", "STOP"), ("TAKE_PROFIT", "TAKE_PROFIT")):
        report = exchange.find(tickets[kind]) if kind in tickets else None
        if report is not None and report.state == "FILLED":
            _end(unit, position_id, report.price, rule, done)
            return
    _end(unit, position_id, None, "CLOSED_AT_VENUE", done)


def _end(unit: Unit, position_id: str, price: float | None, rule: str, done: Reconciled) -> None:
    with unit() as session:
        store.book_of(session, PAPER, lock=True)
        position = session.get_one(Position, position_id)
        if position.closed_at is None:
            at = price if price is not None else position.mark
            settling.book_exit(session, position, at, rule)
            done.closed[position.symbol] = rule


def _protect(unit: Unit, exchange: Exchange, position_id: str, kind: str, done: Reconciled) -> None:
    """Make the stop or the target of a position rest again."""
    with unit() as session:
        position = session.get_one(Position, position_id)
        trigger = position.stop if kind == "STOP" else position.take_profit
        order = intent.rest(session, position, kind, trigger)
        done.protected.append(f"{position.symbol} {kind}")
        client_id = order.client_id
    settling.settle(unit, exchange, client_id)


def _flatten(unit: Unit, exchange: Exchange, holding: Holding, done: Reconciled) -> None:
    """Close at the venue what is no position of ours."""
    with unit() as session:
        order = Order(
            client_id=client_order_id(f"reconcile.{holding.symbol}", new_id()),
            decision_id=f"reconcile.{holding.symbol}",
            book=PAPER,
            symbol=holding.symbol,
            kind="FLATTEN",
            side=-1 if holding.quantity > 0 else 1,
            quantity=abs(holding.quantity),
            price=holding.entry,
            trigger=None,
            reduce_only=True,
            state=intent.NEW,
            reason="held at the venue, and no position of ours",
            created_at=utcnow(),
            updated_at=utcnow(),
        )
        session.add(order)
        session.flush()
        client_id = order.client_id
    settling.settle(unit, exchange, client_id)
    done.flattened[holding.symbol] = holding.quantity


def _sweep(unit: Unit, exchange: Exchange, done: Reconciled) -> None:
    """Cancel what rests of positions that are closed: it would close the next one."""
    for ticket in exchange.resting():
        with unit() as session:
            statement = (
                select(func.count())
                .select_from(Order)
                .join(Position, Position.decision_id == Order.decision_id)
                .where(
                    func.substr(Order.client_id, 1, errands.STEM)
                    == ticket.client_id[: errands.STEM],
                    Position.closed_at.is_not(None),
                )
            )
            dead = bool(session.scalar(statement))
        if dead:
            exchange.cancel(ticket)
            done.swept += 1
