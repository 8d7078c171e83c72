"""An entry as the flow writes it down for an outside venue, and what the book says later."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select, update

from homeostat.clock import utcnow
from homeostat.store import trading as store
from homeostat.store.database import reading, transaction
from homeostat.store.trading import PAPER, Order, Position, client_order_id
from homeostat.trading.market.panel import Instrument
from homeostat.trading.venue import Wanted, intent
from tests.positions import held_position

COIN = Instrument("BTCUSDT", base="BTC")
DECISION = "cycle-1.BTCUSDT"


def order_id(kind: str) -> str:
    return client_order_id(DECISION, kind)


def want_entry(quantity: float = 0.01) -> str:
    """Write an entry and its position as the flow does, in one transaction."""
    with transaction() as session:
        store.book_of(session, PAPER)
        wanted = Wanted(DECISION, PAPER, COIN, "ENTRY", 1, quantity, 60_000.0)
        order = intent.send(session, None, wanted)
        position = held_position(
            decision_id=DECISION,
            quantity=quantity,
            first_quantity=quantity,
            entry=60_000.0,
            stop=59_000.0,
            take_profit=62_000.0,
            risk_per_unit=1_000.0,
            mark=60_000.0,
        )
        session.add(position)
        session.flush()
        intent.rest(session, position, "STOP", position.stop)
        intent.rest(session, position, "TAKE_PROFIT", position.take_profit)
        return order.client_id


def want(kind: str, quantity: float = 1.0, rule: str = "") -> str:
    """Want the position reduced, or closed."""
    with transaction() as session:
        position = session.scalars(select(Position)).one()
        order = intent.reduce(session, position, quantity, position.mark, COIN, kind)
        order.reason = rule
        return order.client_id


def position() -> Position:
    with reading() as session:
        return session.scalars(select(Position)).one()


def order(kind: str) -> Order:
    with reading() as session:
        return session.get_one(Order, order_id(kind))


def equity() -> float:
    with reading() as session:
        return float(store.book_of(session, PAPER).equity)


def age(kind: str, seconds: float) -> None:
    """Let the order's last step lie so far back."""
    with transaction() as session:
        back = utcnow() - timedelta(seconds=seconds)
        session.execute(
            update(Order).where(Order.client_id == order_id(kind)).values(updated_at=back)
        )


def age_all() -> None:
    with transaction() as session:
        session.execute(update(Order).values(updated_at=utcnow() - timedelta(seconds=30)))
