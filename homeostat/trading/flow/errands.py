"""Orders that are wanted at the outside venue, taken up one at a time.

A claim is a commit of its own before anything is sent: whoever finds an order SENT or UNKNOWN
looks it up at the venue first. That the venue does not know it is believed only when it cannot
take it in any more, because the request carries the moment of its claim.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.store.trading import PAPER, Order
from homeostat.trading.venue.exchange import RECEIVE_S, Exchange
from homeostat.trading.venue.intent import ENTRY_LIFE, NEW, SENT, UNKNOWN, UNSETTLED
from homeostat.trading.venue.outcomes import RefusedError, UnknownOutcomeError, VenueError
from homeostat.trading.venue.tickets import Kind, Report, Ticket

#: Opens a transaction that commits at its end.
Unit = Callable[[], AbstractContextManager[Session]]
#: After this long an order that the venue does not know will never come: its window for taking it
#: in, and two seconds for the clocks.
GONE_AFTER = timedelta(seconds=RECEIVE_S + 2)
_KINDS = {"STOP": Kind.STOP, "TAKE_PROFIT": Kind.TAKE_PROFIT}
#: How much of an order's id stands in the id of each of its resting orders.
STEM = 26


@dataclass(frozen=True)
class Errand:
    """One order to carry out; `fresh` where nothing was sent under this claim yet."""

    ticket: Ticket
    price: float
    created_at: datetime
    sent_at: datetime
    fresh: bool

    @property
    def too_late(self) -> bool:
        """Whether it is an entry whose price is gone; an exit is never too late."""
        return not self.ticket.reduce_only and utcnow() - self.created_at > ENTRY_LIFE


def ticket_of(order: Order) -> Ticket:
    """Return the order as it is sent; a resting order's id changes with its trigger and size."""
    kind = _KINDS.get(order.kind, Kind.MARKET)
    client_id = order.client_id
    if kind is not Kind.MARKET:
        mark = hashlib.sha256(repr((order.trigger, order.quantity)).encode()).hexdigest()
        client_id = client_id[:STEM] + mark[: 36 - STEM]
    return Ticket(
        client_id,
        order.symbol,
        order.side,
        order.quantity,
        kind,
        order.trigger or 0.0,
        order.reduce_only,
    )


def claim(session: Session, client_id: str) -> Errand | None:
    """Take an order up, in the caller's transaction; None where there is nothing to do."""
    order = session.get(Order, client_id, with_for_update=True, populate_existing=True)
    if order is None or order.state not in UNSETTLED:
        return None
    fresh = order.state == NEW
    if fresh:
        order.state, order.updated_at = SENT, utcnow()
    return Errand(ticket_of(order), order.price or 0.0, order.created_at, order.updated_at, fresh)


def carry_out(unit: Unit, exchange: Exchange, client_id: str, errand: Errand) -> Report:
    """Send a market order, or find out what became of it; raises a VenueError.

    RefusedError says that it will never come, UnknownOutcomeError that it has to be looked up
    again, later.
    """
    if errand.fresh and errand.too_late:
        raise RefusedError("The entry was not sent in time; its price is gone.")
    if errand.fresh:
        try:
            return exchange.place(errand.ticket, errand.price, errand.sent_at.timestamp())
        except UnknownOutcomeError:
            found = _looked_up(exchange, errand.ticket)
            if found is None:
                raise
            return found
    found = _looked_up(exchange, errand.ticket)
    if found is not None:
        return found
    if utcnow() - errand.sent_at <= GONE_AFTER:
        raise UnknownOutcomeError("The venue does not know the order yet.")
    with unit() as session:
        again = _again(session, client_id, errand)
    return carry_out(unit, exchange, client_id, again)


def _looked_up(exchange: Exchange, ticket: Ticket) -> Report | None:
    """Look an order up; what hinders that says nothing of the order, which stays unknown."""
    try:
        return exchange.find(ticket)
    except VenueError as error:
        raise UnknownOutcomeError(f"It could not be looked up: {error}") from error


def _again(session: Session, client_id: str, errand: Errand) -> Errand:
    """Claim an order anew that has certainly not come; raises where another was faster."""
    now = utcnow()
    statement = (
        update(Order)
        .where(
            Order.client_id == client_id,
            Order.state.in_((SENT, UNKNOWN)),
            Order.updated_at == errand.sent_at,
        )
        .values(state=SENT, updated_at=now)
        .returning(Order.client_id)
    )
    if session.scalar(statement) is None:
        raise UnknownOutcomeError("Another process has taken the order up.")
    return replace(errand, sent_at=now, fresh=True)


def mark(session: Session, client_id: str, state: str) -> None:
    """Note that an order's outcome is unknown, or that it is still to be sent."""
    session.execute(
        update(Order)
        .where(Order.client_id == client_id, Order.state.in_(UNSETTLED))
        .values(state=state)
    )


def unsettled(session: Session) -> list[str]:
    """Return the orders that are wanted or whose end is unknown: exits first, then by age."""
    statement = (
        select(Order.client_id)
        .where(Order.book == PAPER, Order.state.in_(UNSETTLED))
        .order_by(Order.reduce_only.desc(), Order.created_at)
    )
    return list(session.scalars(statement))
