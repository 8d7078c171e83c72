"""From a wanted order to the book: sent once, its outcome entered, its position protected.

Each step is a transaction of its own, and none is open while the venue is asked.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.store import controls
from homeostat.store import trading as store
from homeostat.store.trading import Order, Position, client_order_id
from homeostat.trading.flow import errands, exits
from homeostat.trading.flow.errands import Errand, Unit
from homeostat.trading.flow.parties import Parties
from homeostat.trading.health import LONG_WAIT_S, VENUE_BANNED
from homeostat.trading.market.panel import Instrument
from homeostat.trading.venue import booking, intent
from homeostat.trading.venue.exchange import Exchange
from homeostat.trading.venue.outcomes import (
    AwayError,
    RefusedError,
    UnknownOutcomeError,
    VenueError,
    WaitError,
)
from homeostat.trading.venue.paper import TAKER_FEE
from homeostat.trading.venue.tickets import Kind, Report, Ticket

_ACTOR = "trading.venue"
#: -1021: the venue refuses what comes outside of its window; it may be sent again.
_TOO_LATE = -1021
_WOULD_TRIGGER = -2021
#: Tries to make a stop rest before the position is closed for want of one.
_TRIES = 2


def settle(unit: Unit, exchange: Exchange, client_id: str) -> str:
    """Carry one order out and enter what came of it; returns the state that it is left in.

    UNKNOWN and NEW are left for the next reconciliation. Nothing is raised for what the venue
    does: every outcome has its state.
    """
    with unit() as session:
        errand = errands.claim(session, client_id)
    if errand is None:
        return _state(unit, client_id)
    try:
        if errand.ticket.conditional:
            _rest(unit, exchange, client_id, errand)
        else:
            report = errands.carry_out(unit, exchange, client_id, errand)
            _enter(unit, exchange, client_id, report)
    except VenueError as error:
        _leave(unit, client_id, errand, error)
    return _state(unit, client_id)


def _state(unit: Unit, client_id: str) -> str:
    with unit() as session:
        return session.scalar(select(Order.state).where(Order.client_id == client_id)) or ""


def _leave(unit: Unit, client_id: str, errand: Errand, error: VenueError) -> None:
    """Enter an outcome that is no report."""
    with unit() as session:
        asked = error if isinstance(error, WaitError) else error.__cause__
        if isinstance(asked, WaitError):
            note_wait(session, asked.until)
        unsent = isinstance(error, WaitError | AwayError)
        if isinstance(error, RefusedError) and error.code != _TOO_LATE:
            _refused(session, client_id, str(error), error.code)
        elif (unsent or isinstance(error, RefusedError)) and errand.fresh:
            errands.mark(session, client_id, intent.NEW)
        elif isinstance(error, UnknownOutcomeError):
            errands.mark(session, client_id, intent.UNKNOWN)


def note_wait(session: Session, until: float) -> None:
    """Set the switch that closes entries where the venue makes us wait for long."""
    if until - utcnow().timestamp() <= LONG_WAIT_S:
        return
    end = datetime.fromtimestamp(until, UTC)
    reason = "the venue asks us to wait"
    controls.set_on(session, VENUE_BANNED, actor=_ACTOR, reason=reason, until=end)


def _position_of(session: Session, order: Order) -> Position | None:
    statement = select(Position).where(Position.decision_id == order.decision_id)
    return session.scalar(statement.where(Position.closed_at.is_(None)))


def _refused(session: Session, client_id: str, reason: str, code: int) -> None:
    """Enter a refusal: the entry's position ends, an exit is left to the reconciliation."""
    order = _locked(session, client_id)
    if order.state not in intent.UNSETTLED:
        return
    order.state, order.reason = "REJECTED", reason[:200]
    position = _position_of(session, order)
    if position is None:
        return
    if order.kind == "ENTRY":
        booking.never_opened(session, position, "ENTRY_REJECTED")
        Parties(session).ask(
            "trading.portfolio_balancer", lambda pba: pba.release(session, position.decision_id)
        )
    elif order.kind == "STOP" and code == _WOULD_TRIGGER:
        # The price is beyond the stop already: what the stop would do is done now.
        _want_close(session, position, "STOP_LOSS")


def _locked(session: Session, client_id: str) -> Order:
    """Return the order for changing; the book's lock comes first, as in the cycle."""
    store.book_of(session, store.PAPER, lock=True)
    return session.get_one(Order, client_id, with_for_update=True, populate_existing=True)


def _enter(unit: Unit, exchange: Exchange, client_id: str, report: Report) -> None:
    """Enter what the venue says of a market order, and do what follows from it."""
    if not report.quantity:
        if report.state in {"CANCELED", "REJECTED"}:
            raise RefusedError(f"The venue has {report.state.lower()} it.")
        raise UnknownOutcomeError("The order is neither filled nor refused yet.")
    with unit() as session:
        order = _locked(session, client_id)
        if order.state not in intent.UNSETTLED:
            return
        rule = order.reason
        booking.filled(session, order, report)
        position = _position_of(session, order)
        if position is None:
            return
        follow = _follow(session, order, position, report, rule)
        protection, symbol = _protection(order), order.symbol
        ended = position.closed_at is not None
    for one in follow:
        settle(unit, exchange, one)
    if ended:
        # What hinders this is no matter: the reconciliation takes them away as well.
        with contextlib.suppress(VenueError):
            for one in protection:
                sweep(exchange, symbol, one, keep="")


def _protection(order: Order) -> list[str]:
    """Return the ids of the stop and the target of an order's decision."""
    return [client_order_id(order.decision_id, kind) for kind in ("STOP", "TAKE_PROFIT")]


def _follow(
    session: Session, order: Order, position: Position, report: Report, rule: str
) -> list[str]:
    """Enter a fill into its position; returns the orders that are to be settled next."""
    if order.kind == "ENTRY":
        booking.opened(position, order)
        for kind, trigger in (("STOP", position.stop), ("TAKE_PROFIT", position.take_profit)):
            intent.rest(session, position, kind, trigger)
        return _protection(order)
    booking.reduced(session, position, report.quantity, report.price)
    if position.quantity <= 1e-9 * position.first_quantity or order.kind == "CLOSE":
        finish(session, position, report.price, rule or order.kind)
    return []


def book_exit(session: Session, position: Position, price: float, rule: str) -> None:
    """Enter that a position was taken off at the venue, by an order that needs no settling."""
    fee = TAKER_FEE * price * position.quantity
    store.book_of(session, position.book).equity -= fee
    booking.reduced(session, position, position.quantity, price)
    finish(session, position, price, rule)


def finish(session: Session, position: Position, price: float, rule: str) -> None:
    """Close a position in the book, and tell all who learn from it."""
    exits.finish(session, booking.closed(session, position, price, rule), Parties(session))


def _want_close(session: Session, position: Position, rule: str) -> None:
    instrument = Instrument(position.symbol, base=position.symbol)
    intent.close(session, position, position.mark, rule, instrument)


def _rest(unit: Unit, exchange: Exchange, client_id: str, errand: Errand) -> None:
    """Make a stop or target rest, see that it does, and take those before it away."""
    ticket = errand.ticket
    with unit() as session:
        position = _position_of(session, session.get_one(Order, client_id))
    if position is None:
        with unit() as session:
            errands.mark(session, client_id, "CANCELED")
        sweep(exchange, ticket.symbol, client_id, keep="")
        return
    found = _standing(exchange, ticket)
    for _ in range(_TRIES):
        if found is None:
            with contextlib.suppress(UnknownOutcomeError):
                exchange.place(ticket, errand.price)
            found = _standing(exchange, ticket)
    if found is not None:
        sweep(exchange, ticket.symbol, client_id, keep=ticket.client_id)
    for one in _rested(unit, client_id, errand, found):
        settle(unit, exchange, one)


def _standing(exchange: Exchange, ticket: Ticket) -> Report | None:
    """Return the report of an order that rests or was filled; None where it has to be placed."""
    found = exchange.find(ticket)
    return found if found is not None and found.state in {"RESTING", "FILLED"} else None


def _rested(unit: Unit, client_id: str, errand: Errand, found: Report | None) -> list[str]:
    """Enter whether it rests; returns the closing order where a stop does not."""
    with unit() as session:
        order = _locked(session, client_id)
        # It may be wanted elsewhere by now.
        if order.state in intent.UNSETTLED and errands.ticket_of(order) == errand.ticket:
            order.state = "REJECTED" if found is None else found.state
            order.reason = "acknowledged, and does not rest" if found is None else ""
        position = _position_of(session, order)
        if found is not None or errand.ticket.kind is not Kind.STOP or position is None:
            return []
        # A position whose stop does not rest is worse than none.
        _want_close(session, position, "NO_RESTING_STOP")
        return [client_order_id(position.decision_id, "CLOSE")]


def sweep(exchange: Exchange, symbol: str, client_id: str, *, keep: str) -> None:
    """Cancel the resting orders of one of our ids but for the one to keep."""
    for one in exchange.resting(symbol):
        if one.client_id != keep and one.client_id.startswith(client_id[: errands.STEM]):
            exchange.cancel(one)
