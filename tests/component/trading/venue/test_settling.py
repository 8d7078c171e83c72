"""From a wanted order to the book and back: sent once, looked up, protected, reconciled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from homeostat.clock import utcnow
from homeostat.store import controls
from homeostat.store.database import reading, transaction
from homeostat.store.trading import Order, Position
from homeostat.trading.flow import errands
from homeostat.trading.flow.ground import Ground
from homeostat.trading.flow.reconcile import Reconciled, reconcile
from homeostat.trading.flow.settling import settle
from homeostat.trading.health import VENUE_BANNED
from homeostat.trading.venue import intent
from homeostat.trading.venue.exchange import Exchange
from homeostat.trading.venue.loopback import Fault, FaultKind
from homeostat.trading.venue.outcomes import RefusedError
from tests.loopback_venue import Loopback
from tests.venue_book import age, age_all, equity, order, order_id, position, want, want_entry
from tests.waiting import wait_until

Connect = Callable[..., Exchange]
ORDER = "POST /fapi/v1/order"
ALGO = "POST /fapi/v1/algoOrder"

pytestmark = pytest.mark.usefixtures("sqlite_store")


def reconciled(exchange: Exchange) -> Reconciled:
    age_all()
    return reconcile(transaction, exchange)


def opened(exchange: Exchange) -> None:
    assert settle(transaction, exchange, want_entry()) == "FILLED"


def stops(exchange: Exchange) -> list[float]:
    return sorted(one.trigger for one in exchange.resting("BTCUSDT"))


def test_an_entry_is_filled_booked_at_the_venues_price_and_protected(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    opened(exchange)
    held = position()
    assert (held.entry, held.quantity) == (60_006.0, 0.01)
    assert held.stop == pytest.approx(59_000.0 * 60_006 / 60_000)
    assert [order(kind).state for kind in ("STOP", "TAKE_PROFIT")] == ["RESTING"] * 2
    assert stops(exchange) == pytest.approx([59_005.9, 62_006.2])
    assert equity() == pytest.approx(10_000 - 0.0005 * 600.06)
    assert loopback.fills(order_id("ENTRY")) == 1


@pytest.mark.parametrize("times", [2, 5])
def test_an_order_is_filled_once_however_often_it_is_settled(
    loopback: Loopback, connected: Connect, times: int
) -> None:
    client_id = want_entry()
    for _ in range(times):
        assert settle(transaction, connected(), client_id) == "FILLED"
    assert loopback.fills(client_id) == 1


def test_an_unknown_outcome_stays_unknown_until_the_venue_can_take_it_in_no_more(
    loopback: Loopback, connected: Connect
) -> None:
    client_id = want_entry()
    loopback.put(FaultKind.TIMEOUT_1007, ORDER, done=False)
    assert settle(transaction, connected(), client_id) == "UNKNOWN"
    # The venue does not know it, and it may still be under way: nothing is sent.
    assert settle(transaction, connected(), client_id) == "UNKNOWN"
    assert loopback.requests(ORDER) == 1
    age("ENTRY", 13)
    assert settle(transaction, connected(), client_id) == "FILLED"
    assert loopback.requests(ORDER) == 2
    assert loopback.fills(client_id) == 1


def test_an_order_that_arrives_after_it_was_looked_up_is_filled_once(
    loopback: Loopback, connected: Connect
) -> None:
    client_id = want_entry()
    loopback.put(FaultKind.LATE, ORDER, seconds=0.3)
    assert settle(transaction, connected(), client_id) == "UNKNOWN"
    wait_until(lambda: loopback.fills(client_id), "the order arrives after all")
    assert settle(transaction, connected(), client_id) == "FILLED"
    assert loopback.fills(client_id) == 1


def test_a_worker_killed_between_claim_and_sending_loses_nothing(
    loopback: Loopback, connected: Connect
) -> None:
    client_id = want_entry()
    with transaction() as session:
        errands.claim(session, client_id)
    assert settle(transaction, connected(), client_id) == "UNKNOWN"
    age("ENTRY", 13)
    assert settle(transaction, connected(), client_id) == "FILLED"
    assert loopback.fills(client_id) == 1


def test_a_request_held_up_beyond_its_claim_is_refused_by_the_venue(
    loopback: Loopback, connected: Connect
) -> None:
    client_id, exchange = want_entry(), connected()
    exchange.balance()
    with transaction() as session:
        late = errands.claim(session, client_id)
    assert late is not None
    age("ENTRY", 13)
    assert settle(transaction, exchange, client_id) == "FILLED"
    # The first worker was stopped for 13 s after its claim, and goes on now.
    with pytest.raises(RefusedError) as caught:
        exchange.place(late.ticket, 60_000.0, late.sent_at.timestamp() - 13)
    assert caught.value.code == -1021
    assert loopback.fills(client_id) == 1


def test_an_order_that_the_venue_took_for_too_late_is_sent_again(
    loopback: Loopback, connected: Connect
) -> None:
    client_id, exchange = want_entry(), connected()
    loopback.put(FaultKind.REFUSED, ORDER, code=-1021, message="outside of the recvWindow")
    assert settle(transaction, exchange, client_id) == "NEW"
    assert position().closed_at is None
    assert settle(transaction, exchange, client_id) == "FILLED"
    assert loopback.fills(client_id) == 1


def test_an_entry_that_comes_too_late_is_not_sent_and_its_position_ends(
    loopback: Loopback, connected: Connect
) -> None:
    client_id = want_entry()
    with transaction() as session:
        session.get_one(Order, client_id).created_at = utcnow() - timedelta(seconds=91)
    assert settle(transaction, connected(), client_id) == "REJECTED"
    assert loopback.requests(ORDER) == 0
    assert position().exit_rule == "ENTRY_REJECTED"
    assert order("STOP").state == "CANCELED"


def test_a_refused_entry_ends_its_position_without_a_result(
    loopback: Loopback, connected: Connect
) -> None:
    loopback.put(FaultKind.REFUSED, ORDER, code=-2019, message="Margin is insufficient.")
    assert settle(transaction, connected(), want_entry()) == "REJECTED"
    assert position().closed_at is not None
    assert equity() == 10_000.0
    assert "-2019" in order("ENTRY").reason


def test_a_banned_venue_closes_entries_for_all(loopback: Loopback, connected: Connect) -> None:
    client_id = want_entry()
    loopback.put(FaultKind.BANNED, seconds=120.0)
    assert settle(transaction, connected(), client_id) == "NEW"
    with reading() as session:
        assert controls.is_on(session, VENUE_BANNED)
        assert VENUE_BANNED in Ground.read(session, utcnow()).switches


def test_an_exit_waits_for_the_end_of_a_ban_and_goes_out_then(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    opened(exchange)
    client_id = want("CLOSE", rule="PIL_EXIT")
    loopback.put(FaultKind.BANNED, seconds=1.0)
    assert settle(transaction, exchange, client_id) == "NEW"
    # The stop rests at the venue meanwhile.
    assert loopback.exchange.account.find(conditional=True, id_=2) is not None
    wait_until(lambda: not exchange.guard.wait_until(), "the ban ends")
    assert settle(transaction, exchange, client_id) == "FILLED"
    assert loopback.amount() == 0
    assert loopback.exchange.limit.knocks == 0


def test_an_exit_books_what_it_earned_and_takes_the_stops_away(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    opened(exchange)
    loopback.prices.put("BTCUSDT", 61_000.0)
    assert settle(transaction, exchange, want("CLOSE", rule="PIL_EXIT")) == "FILLED"
    held = position()
    assert (held.exit_rule, held.mark) == ("PIL_EXIT", 60_993.9)
    earned = 0.01 * (60_993.9 - 60_006.0)
    fees = 0.0005 * 0.01 * (60_006.0 + 60_993.9)
    assert equity() == pytest.approx(10_000 + earned - fees)
    assert float(loopback.exchange.account.wallet) == pytest.approx(equity())
    assert stops(exchange) == []
    assert reconciled(exchange) == Reconciled()


def test_stops_that_could_not_be_taken_away_at_once_are_by_the_reconciliation(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    opened(exchange)
    loopback.put(FaultKind.BUSY_503, "GET /fapi/v1/openAlgoOrders")
    assert settle(transaction, exchange, want("CLOSE")) == "FILLED"
    assert len(stops(exchange)) == 2
    assert reconciled(exchange).swept == 2
    assert stops(exchange) == []


def test_a_stop_that_is_not_ours_is_left_alone(loopback: Loopback, connected: Connect) -> None:
    exchange = connected()
    opened(exchange)
    settle(transaction, exchange, want("CLOSE"))
    client = loopback.naive(enableRateLimit=False)
    for foreign in (order_id("STOP")[:1], "%", "_" * 36):
        params = {"stopLossPrice": 50_000.0, "reduceOnly": True, "clientAlgoId": foreign}
        client.create_order("BTC/USDT:USDT", "market", "sell", 0.01, params=params)
    assert reconciled(exchange).swept == 0
    assert len(exchange.resting("BTCUSDT")) == 3


def test_a_partial_exit_leaves_the_rest_open(loopback: Loopback, connected: Connect) -> None:
    exchange = connected()
    opened(exchange)
    assert settle(transaction, exchange, want("PARTIAL", 0.004)) == "FILLED"
    assert position().closed_at is None
    assert position().quantity == pytest.approx(0.006)
    assert loopback.amount() == pytest.approx(0.006)


def test_a_moved_stop_rests_before_the_old_one_goes(loopback: Loopback, connected: Connect) -> None:
    exchange = connected()
    opened(exchange)
    with transaction() as session:
        held = session.scalars(select(Position)).one()
        intent.move_stop(session, held, 59_500.0)
    assert settle(transaction, exchange, order_id("STOP")) == "RESTING"
    assert stops(exchange) == pytest.approx([59_500.0, 62_006.2])
    lines = [line for line, _ in loopback.exchange.log]
    assert lines.index("DELETE /fapi/v1/algoOrder") > max(
        at for at, line in enumerate(lines) if line == ALGO
    )


def test_a_stop_that_is_dropped_once_is_placed_again(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    loopback.put(FaultKind.DROPPED, ALGO)
    opened(exchange)
    assert len(stops(exchange)) == 2
    assert position().closed_at is None


def test_a_position_whose_stop_does_not_rest_is_closed(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    loopback.put(FaultKind.DROPPED, ALGO, times=2)
    opened(exchange)
    assert loopback.amount() == 0
    assert position().exit_rule == "NO_RESTING_STOP"


def test_a_stop_that_the_price_has_passed_already_closes_at_once(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    loopback.exchange.script.put([Fault(FaultKind.REFUSED, ALGO, code=-2021, message="at once")])
    opened(exchange)
    assert reconciled(exchange).settled >= 1
    assert loopback.amount() == 0
    assert position().exit_rule == "STOP_LOSS"


# Reconciliation


def test_a_stop_that_was_touched_at_the_venue_closes_the_position_in_the_book(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    opened(exchange)
    loopback.prices.put("BTCUSDT", 58_900.0)
    assert reconciled(exchange).closed == {"BTCUSDT": "STOP_LOSS"}
    held = position()
    assert held.mark == pytest.approx(58_894.1)
    assert float(loopback.exchange.account.wallet) == pytest.approx(equity(), abs=1e-6)
    assert reconciled(exchange).swept == 0 or stops(exchange) == []
    assert reconciled(exchange) == Reconciled()


def test_book_and_venue_in_line_need_nothing(loopback: Loopback, connected: Connect) -> None:
    exchange = connected()
    opened(exchange)
    sent = loopback.requests(ORDER), loopback.requests(ALGO)
    assert reconciled(exchange) == Reconciled()
    assert (loopback.requests(ORDER), loopback.requests(ALGO)) == sent


def test_a_position_that_is_no_one_s_is_flattened(loopback: Loopback, connected: Connect) -> None:
    client = loopback.naive(enableRateLimit=False)
    client.create_order("DOGE/USDT:USDT", "market", "sell", 1000)
    found = reconciled(connected())
    assert found.flattened == {"DOGEUSDT": -1000.0}
    assert loopback.amount("DOGEUSDT") == 0


def test_a_size_that_differs_is_adopted(loopback: Loopback, connected: Connect) -> None:
    exchange = connected()
    opened(exchange)
    client = loopback.naive(enableRateLimit=False)
    client.create_order("BTC/USDT:USDT", "market", "sell", 0.003, params={"reduceOnly": True})
    assert reconciled(exchange).adopted == {"BTCUSDT": pytest.approx(0.007)}
    assert position().quantity == pytest.approx(0.007)


def test_a_position_turned_over_by_hand_is_flattened(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    opened(exchange)
    client = loopback.naive(enableRateLimit=False)
    client.create_order("BTC/USDT:USDT", "market", "sell", 0.03)
    found = reconciled(exchange)
    assert found.closed == {"BTCUSDT": "FLATTENED"}
    assert loopback.amount() == 0


def test_a_stop_that_somebody_canceled_is_put_back(connected: Connect) -> None:
    exchange = connected()
    opened(exchange)
    for one in exchange.resting("BTCUSDT"):
        exchange.cancel(one)
    assert reconciled(exchange).protected == ["BTCUSDT STOP", "BTCUSDT TAKE_PROFIT"]
    assert order("STOP").state == "RESTING"
    assert stops(exchange) == pytest.approx([59_005.9, 62_006.2])


def test_what_is_under_way_is_left_alone(loopback: Loopback, connected: Connect) -> None:
    exchange = connected()
    want_entry()
    loopback.put(FaultKind.TIMEOUT_1007, ORDER, done=False)
    found = reconcile(transaction, exchange)
    assert len(found.unsettled) >= 1
    assert position().closed_at is None
    assert found.flattened == {}


def test_what_was_filled_while_the_venue_was_asked_is_left_alone(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    opened(exchange)
    client = loopback.naive(enableRateLimit=False)
    client.create_order("BTC/USDT:USDT", "market", "sell", 0.01, params={"reduceOnly": True})
    # Filled a moment ago: an answer without the position may be older than the fill.
    assert reconcile(transaction, exchange).closed == {}
    assert position().closed_at is None
    assert reconciled(exchange).closed == {"BTCUSDT": "CLOSED_AT_VENUE"}


def test_what_rests_under_another_mark_gives_way_to_what_is_wanted(connected: Connect) -> None:
    """As after an upgrade that makes the ids of resting orders in another way."""
    exchange = connected()
    opened(exchange)
    for one in exchange.resting("BTCUSDT"):
        exchange.cancel(one)
        exchange.place(replace(one, client_id=one.client_id[: errands.STEM] + "old"), 60_000.0)
    assert reconciled(exchange).protected == ["BTCUSDT STOP", "BTCUSDT TAKE_PROFIT"]
    assert [one.client_id[-3:] == "old" for one in exchange.resting("BTCUSDT")] == [False, False]
    assert stops(exchange) == pytest.approx([59_005.9, 62_006.2])


def test_a_venue_that_is_away_is_noted_and_changes_nothing(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    opened(exchange)
    loopback.put(FaultKind.BUSY_503, "GET /fapi/v3/positionRisk")
    found = reconciled(exchange)
    assert "Unknown error" in found.waiting
    assert position().closed_at is None
