"""A market order as it is wanted, and its row: written once, whichever venue carries it out."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.store.trading import Order, Position, client_order_id, order_of
from homeostat.trading.market.panel import Instrument

#: An order that is wanted, and one that the venue, or our own look at it, has refused.
NEW, REJECTED = "NEW", "REJECTED"


@dataclass(frozen=True)
class Wanted:
    """One market order: `kind` and `decision` are its natural key, `price` is what is expected."""

    decision: str
    book: str
    instrument: Instrument
    kind: str
    side: int
    quantity: float
    price: float
    reduce_only: bool = False


def reducing(
    position: Position, quantity: float, price: float, instrument: Instrument, kind: str
) -> Wanted:
    """Return the order that takes a part of the position off, and can never open another."""
    return Wanted(
        position.decision_id,
        position.book,
        instrument,
        kind,
        -position.side,
        quantity,
        price,
        reduce_only=True,
    )


def write(session: Session, position: Position | None, wanted: Wanted) -> tuple[Order, bool]:
    """Return the order's row, and whether it is a new one that may go on to the venue.

    A repeat returns the first one. What no venue would take is REJECTED here: an order to reduce
    where nothing is held, or one below the minimum notional that does not only reduce.
    """
    client_id = client_order_id(wanted.decision, wanted.kind)
    known = order_of(session, client_id)
    if known is not None:
        return known, False
    refused, quantity = _refusal(position, wanted)
    now = utcnow()
    order = Order(
        client_id=client_id,
        decision_id=wanted.decision,
        book=wanted.book,
        symbol=wanted.instrument.symbol,
        kind=wanted.kind,
        side=wanted.side,
        quantity=quantity,
        trigger=None,
        reduce_only=wanted.reduce_only,
        state=REJECTED if refused else NEW,
        price=wanted.price,
        fee=0.0,
        slippage=0.0,
        reason=refused,
        created_at=now,
        updated_at=now,
    )
    session.add(order)
    return order, not refused


def _refusal(position: Position | None, wanted: Wanted) -> tuple[str, float]:
    """Return why no venue would take it, or an empty text; and the quantity that is left of it."""
    if wanted.reduce_only:
        facing = position is not None and position.side == -wanted.side
        held = position.quantity if position is not None and facing else 0.0
        quantity = min(wanted.quantity, held)
        return ("" if quantity > 0 else "reduce-only with nothing to reduce"), quantity
    least = wanted.instrument.min_notional
    small = wanted.quantity * wanted.price < least
    return (f"below {least} notional" if small else ""), wanted.quantity
