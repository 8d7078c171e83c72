"""Orders for an outside venue: written down with their decision, and sent after its commit.

Nothing is sent from here. Each function writes what is wanted into the order's row and a job
that carries it out (`flow.settling`); a position counts as open from its decision on, so that its
risk stays reserved, and nothing happens to it before its entry is filled.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.store import jobs
from homeostat.store.trading import Order, Position, client_order_id
from homeostat.trading.market.panel import Instrument
from homeostat.trading.venue import orders
from homeostat.trading.venue.orders import Wanted
from homeostat.trading.venue.paper import HORIZON_BARS, Bar, trailed

#: States of an order whose end is not known yet: wanted, sent, and sent without an answer.
NEW, SENT, UNKNOWN = orders.NEW, "SENT", "UNKNOWN"
UNSETTLED = (NEW, SENT, UNKNOWN)
QUEUE = "trade"
#: An entry that has not been sent by then is not sent at all: its price is gone.
ENTRY_LIFE = timedelta(seconds=90)
#: Business priorities: an exit goes before everything but the emergency stop.
_EXIT_PRIORITY, _ENTRY_PRIORITY = 9, 6


def send(session: Session, position: Position | None, wanted: Wanted) -> Order:
    """Want a market order; it comes back NEW, or REJECTED where it need not be tried."""
    order, fresh = orders.write(session, position, wanted)
    if fresh:
        want(session, order)
    elif wanted.reduce_only and order.state == orders.REJECTED and order.quantity > 0:
        # An exit is wanted until there is nothing left to exit from, and for what it was wanted.
        order.state, order.reason, order.updated_at = NEW, "", utcnow()
    session.flush()
    return order


def want(session: Session, order: Order) -> None:
    """Write the job that carries the order out, in the caller's transaction."""
    jobs.enqueue(
        session,
        "trade.order",
        {"client_id": order.client_id},
        queue=QUEUE,
        priority=_EXIT_PRIORITY if order.reduce_only else _ENTRY_PRIORITY,
        natural_key=f"trade.order:{order.client_id}:{order.trigger}:{order.quantity}",
    )


def rest(session: Session, position: Position, kind: str, trigger: float) -> Order:
    """Want a reduce-only order to rest, or to rest elsewhere; sent once the entry is filled."""
    client_id = client_order_id(position.decision_id, kind)
    order = session.get(Order, client_id)
    if order is None:
        order = Order(
            client_id=client_id,
            decision_id=position.decision_id,
            book=position.book,
            symbol=position.symbol,
            kind=kind,
            side=-position.side,
            price=None,
            reduce_only=True,
            reason="",
            created_at=utcnow(),
        )
        session.add(order)
    order.state, order.trigger, order.quantity = NEW, trigger, position.quantity
    order.updated_at = utcnow()
    if confirmed(session, position):
        want(session, order)
    session.flush()
    return order


def resting(session: Session, position: Position, kind: str = "STOP") -> float | None:
    """Return the trigger of the order that rests, or is on its way; None where none is."""
    order = session.get(Order, client_order_id(position.decision_id, kind))
    if order is None or order.state not in {"RESTING", *UNSETTLED}:
        return None
    return order.trigger


def confirmed(session: Session, position: Position) -> bool:
    """Return whether the venue has filled the position's entry."""
    entry = session.get(Order, client_order_id(position.decision_id, "ENTRY"))
    return entry is not None and entry.state == "FILLED"


def advance(session: Session, position: Position, bar: Bar, instrument: Instrument) -> None:
    """Let a closed bar pass over a position: mark, trail, time barrier.

    Stop and target rest at the venue, which alone knows whether they were touched.
    """
    if bar.at <= position.marked_at or not confirmed(session, position):
        return
    position.bars += 1
    position.marked_at, position.mark = bar.at, bar.close
    stop = trailed(position, bar.close)
    if stop is not None:
        move_stop(session, position, stop)
    horizon = HORIZON_BARS * (2 if position.advice == "EXTEND_HOLD" else 1)
    if position.bars >= horizon:
        close(session, position, bar.close, "TIME_BARRIER", instrument)


def move_stop(session: Session, position: Position, stop: float) -> None:
    """Want the resident stop elsewhere; it is only ever tightened."""
    if position.side * (stop - position.stop) > 0:
        position.stop = stop
        rest(session, position, "STOP", stop)


def close(
    session: Session, position: Position, price: float, rule: str, instrument: Instrument
) -> None:
    """Want the whole position closed; it is when the venue has filled that."""
    order = reduce(session, position, position.quantity, price, instrument, "CLOSE")
    order.reason = order.reason or rule


def reduce(
    session: Session,
    position: Position,
    quantity: float,
    price: float,
    instrument: Instrument,
    kind: str,
) -> Order:
    """Want a part of the position taken off."""
    return send(session, position, orders.reducing(position, quantity, price, instrument, kind))
