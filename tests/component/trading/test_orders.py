"""One port for orders: on paper and outside the same things are refused, repeated and cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.store import jobs
from homeostat.store.database import transaction
from homeostat.store.trading import Order, Position
from homeostat.trading.market.panel import Instrument
from homeostat.trading.venue import Wanted, intent, paper

COIN = Instrument("BTCUSDT", base="BTC")
Way = Callable[[Session, Position | None, Wanted], Order]
WAYS = pytest.mark.parametrize("way", [paper.send, intent.send], ids=["paper", "outside"])


def wanted(**more: Any) -> Wanted:
    usual: dict[str, Any] = {"decision": "c.BTC", "book": "paper", "instrument": COIN}
    usual |= {"kind": "ENTRY", "side": 1, "quantity": 1.0, "price": 100.0}
    return Wanted(**{**usual, **more})


def accepted(order: Order) -> bool:
    return order.state in {"FILLED", "NEW"}


@WAYS
@pytest.mark.usefixtures("sqlite_store")
def test_a_repeat_is_the_first_order_and_is_wanted_once(way: Way) -> None:
    with transaction() as session:
        first = way(session, None, wanted())
        again = way(session, None, wanted(price=50.0, quantity=9.0))
        assert first is again
        assert session.scalar(select(func.count()).select_from(Order)) == 1
        sent = session.scalar(select(func.count()).select_from(jobs.Job))
        assert sent == (way is intent.send)


@WAYS
@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(("quantity", "taken"), [(0.05, True), (0.0499, False)])
def test_the_minimum_notional_is_looked_at_before_anything_is_sent(
    way: Way,
    quantity: float,
    taken: bool,  # noqa: FBT001  # a case of the table above
) -> None:
    with transaction() as session:
        order = way(session, None, wanted(quantity=quantity))
        assert accepted(order) is taken
        assert bool(order.reason) is not taken
        # What only reduces is exempt.
        held = Position(side=1, quantity=quantity)
        less = way(session, held, wanted(kind="CLOSE", side=-1, quantity=1.0, reduce_only=True))
        assert accepted(less)
        assert less.quantity == quantity


@WAYS
@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize("held", [None, Position(side=-1, quantity=1.0)])
def test_an_order_to_reduce_never_opens(way: Way, held: Position | None) -> None:
    """The second look is at a refused exit outside: with nothing held it is not tried either."""
    with transaction() as session:
        for _ in range(2):
            order = way(session, held, wanted(kind="CLOSE", side=-1, reduce_only=True))
            assert (order.state, order.quantity) == ("REJECTED", 0.0)
