"""What the outside venue did, entered into our book."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.store import trading as store
from homeostat.store.trading import Order, Position
from homeostat.trading.venue.intent import UNSETTLED
from homeostat.trading.venue.paper import TAKER_FEE, Closed, result_r
from homeostat.trading.venue.tickets import Report


def filled(session: Session, order: Order, report: Report) -> None:
    """Enter an order's fill with its price and fee; the fee is the taker's, as agreed."""
    expected = order.price if order.price is not None else report.price
    order.state, order.price, order.quantity = "FILLED", report.price, report.quantity
    order.fee = TAKER_FEE * report.price * report.quantity
    order.slippage = abs(report.price - expected) * report.quantity
    order.updated_at = utcnow()
    store.book_of(session, order.book).equity -= order.fee


def opened(position: Position, order: Order) -> None:
    """Give a position the price and size that its entry was filled at; its barriers move along."""
    assert order.price is not None  # noqa: S101  # a filled order has its price
    ratio = order.price / position.entry
    position.entry, position.mark = order.price, order.price
    position.stop *= ratio
    position.take_profit *= ratio
    position.risk_per_unit *= ratio
    position.quantity = position.first_quantity = order.quantity
    position.costs = order.fee


def never_opened(session: Session, position: Position, rule: str) -> None:
    """End a position whose entry was never filled: nothing was won or lost."""
    position.closed_at, position.exit_rule = utcnow(), rule
    _lift(session, position)


def reduced(session: Session, position: Position, quantity: float, price: float) -> None:
    """Book what was taken off a position at the venue's price."""
    earned = position.side * (price - position.entry) * quantity
    position.realised += earned
    position.costs += TAKER_FEE * price * quantity
    position.quantity -= quantity
    store.book_of(session, position.book).equity += earned


def closed(session: Session, position: Position, price: float, rule: str) -> Closed:
    """End a position of which nothing is left at the venue."""
    position.closed_at, position.exit_rule, position.mark = utcnow(), rule, price
    _lift(session, position)
    return Closed(position, rule, result_r(position))


def _lift(session: Session, position: Position) -> None:
    """Want none of its orders any more."""
    session.execute(
        update(Order)
        .where(Order.decision_id == position.decision_id, Order.state.in_({"RESTING", *UNSETTLED}))
        .values(state="CANCELED", updated_at=utcnow())
    )
    session.flush()
