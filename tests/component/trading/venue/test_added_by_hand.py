"""What somebody adds to a position at the venue: adopted whole, protected whole, counted whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from homeostat import registry
from homeostat.store import trading as store
from homeostat.store.database import reading, transaction
from homeostat.store.trading import PAPER, Order, Reservation
from homeostat.trading.flow.reconcile import Reconciled, reconcile
from homeostat.trading.flow.settling import settle
from homeostat.trading.portfolio_balancer import Candidate
from homeostat.trading.venue import intent
from homeostat.trading.venue.exchange import Exchange
from homeostat.trading.venue.loopback import FaultKind
from tests.loopback_venue import BTC, Loopback
from tests.venue_book import COIN, DECISION, age_all, equity, order, position, want_entry

Connect = Callable[..., Exchange]

pytestmark = pytest.mark.usefixtures("store")


def reconciled(exchange: Exchange) -> Reconciled:
    age_all()
    return reconcile(transaction, exchange)


def opened(exchange: Exchange) -> None:
    """Hold 0.01 BTC at 60,006, with its reservation."""
    with transaction() as session:
        store.book_of(session, PAPER)
        pba: Any = registry.find("trading.portfolio_balancer")
        wish = Candidate(DECISION, "BTCUSDT", 1, 10.0, 600.0)
        assert not pba.reserve(session, PAPER, [wish])[0].code
    assert settle(transaction, exchange, want_entry()) == "FILLED"


def by_hand(loopback: Loopback, side: str, quantity: float, **params: Any) -> None:
    client = loopback.naive(enableRateLimit=False)
    client.create_order(BTC, "market", side, quantity, params=params)


def protected(exchange: Exchange) -> list[tuple[float, float]]:
    """Return trigger and size of what rests."""
    return sorted((one.trigger, one.quantity) for one in exchange.resting("BTCUSDT"))


def reservation() -> Reservation:
    with reading() as session:
        return session.get_one(Reservation, DECISION)


def test_an_add_by_hand_is_averaged_in_and_protected_whole(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    opened(exchange)
    before, costs = protected(exchange), position().costs
    loopback.prices.put("BTCUSDT", 61_000.0)
    by_hand(loopback, "buy", 0.005)
    found = reconciled(exchange)
    assert found.adopted == {"BTCUSDT": pytest.approx(0.015)}
    assert found.protected == ["BTCUSDT STOP", "BTCUSDT TAKE_PROFIT"]
    held = position()
    paid = 61_000 * 1.0001
    assert held.quantity == pytest.approx(0.015)
    assert held.entry == pytest.approx((0.01 * 60_006 + 0.005 * paid) / 0.015)
    assert held.costs - costs == pytest.approx(0.0005 * 0.005 * paid)
    # The same triggers, for the whole of it; what was too small is gone.
    assert protected(exchange) == [(trigger, 0.015) for trigger, _ in before]
    assert {order(kind).quantity for kind in ("STOP", "TAKE_PROFIT")} == {0.015}
    # Its R stays that of the first entry.
    assert (held.first_quantity, held.adds) == (0.01, 0)
    assert float(loopback.exchange.account.wallet) == pytest.approx(equity(), abs=1e-6)
    assert reconciled(exchange) == Reconciled()


def test_the_balancer_counts_what_was_added_by_hand(loopback: Loopback, connected: Connect) -> None:
    exchange = connected()
    opened(exchange)
    by_hand(loopback, "buy", 0.02)
    reconciled(exchange)
    held, own = position(), reservation()
    assert own.notional == pytest.approx(0.03 * held.entry)
    assert own.risk == pytest.approx(0.03 * (held.entry - held.stop))
    assert own.margin == pytest.approx(own.notional / 20)
    by_hand(loopback, "sell", 0.02, reduceOnly=True)
    assert reconciled(exchange).adopted == {"BTCUSDT": pytest.approx(0.01)}
    assert reservation().risk == own.risk


def test_the_stop_of_an_add_by_hand_takes_the_whole_position_off(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    opened(exchange)
    by_hand(loopback, "buy", 0.005)
    reconciled(exchange)
    loopback.prices.put("BTCUSDT", 58_900.0)
    assert reconciled(exchange).closed == {"BTCUSDT": "STOP_LOSS"}
    assert loopback.amount() == 0
    assert position().realised == pytest.approx(0.015 * (position().mark - position().entry))


def test_a_stop_for_the_whole_that_is_dropped_is_placed_again_and_the_old_one_stays_till_then(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    opened(exchange)
    by_hand(loopback, "buy", 0.005)
    loopback.put(FaultKind.DROPPED, "POST /fapi/v1/algoOrder")
    reconciled(exchange)
    assert [size for _, size in protected(exchange)] == [0.015, 0.015]
    assert order("STOP").state == "RESTING"


def test_an_exit_that_is_wanted_again_keeps_its_rule(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    opened(exchange)
    loopback.put(FaultKind.REFUSED, "POST /fapi/v1/order", code=-4131, message="x" * 300)
    for rule, state in (("TIME_BARRIER", "REJECTED"), ("PIL_EXIT", "FILLED")):
        with transaction() as session:
            held = session.merge(position())
            intent.close(session, held, held.mark, rule, COIN)
            client_id = store.client_order_id(DECISION, "CLOSE")
        assert settle(transaction, exchange, client_id) == state
    assert position().exit_rule == "PIL_EXIT"
    with reading() as session:
        assert session.scalars(select(Order.reason).where(Order.kind == "CLOSE")).all() == [
            "PIL_EXIT"
        ]
