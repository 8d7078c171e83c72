"""One fill per order on both databases: workers at once, lost answers, killed workers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from homeostat.store.database import transaction
from homeostat.trading.flow import errands
from homeostat.trading.flow.reconcile import reconcile
from homeostat.trading.flow.settling import settle
from homeostat.trading.venue.exchange import Exchange
from homeostat.trading.venue.loopback import FaultKind
from homeostat.trading.venue.outcomes import UnknownOutcomeError
from homeostat.trading.venue.tickets import Report, Ticket
from tests.loopback_venue import Loopback
from tests.venue_book import age_all, order, position, want_entry
from tests.waiting import wait_until

Connect = Callable[..., Exchange]
ORDER = "POST /fapi/v1/order"

pytestmark = pytest.mark.usefixtures("store")


def test_an_order_that_eight_workers_settle_at_once_is_filled_once(
    loopback: Loopback, connected: Connect
) -> None:
    client_id = want_entry()
    exchanges = [connected() for _ in range(8)]
    threads = [
        threading.Thread(target=settle, args=(transaction, one, client_id)) for one in exchanges
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loopback.fills(client_id) == 1
    assert settle(transaction, exchanges[0], client_id) == "FILLED"
    assert loopback.requests(ORDER) == 1


@pytest.mark.parametrize(
    "kind", [FaultKind.LOST_ANSWER, FaultKind.TIMEOUT_1007, FaultKind.BUSY_503, FaultKind.TRUNCATED]
)
def test_an_order_accepted_but_timed_out_is_filled_once(
    loopback: Loopback, connected: Connect, kind: FaultKind
) -> None:
    client_id = want_entry()
    loopback.put(kind, ORDER)
    assert settle(transaction, connected(), client_id) == "FILLED"
    assert loopback.fills(client_id) == 1
    assert loopback.requests(ORDER) == 1


def test_a_worker_killed_between_sending_and_booking_leaves_one_fill(
    loopback: Loopback, connected: Connect
) -> None:
    client_id, exchange = want_entry(), connected()
    with transaction() as session:
        errand = errands.claim(session, client_id)
    assert errand is not None
    errands.carry_out(transaction, exchange, client_id, errand)
    # Here it was killed: the book knows nothing of the fill.
    assert order("ENTRY").state == "SENT"
    age_all()
    assert reconcile(transaction, exchange).settled >= 1
    assert loopback.fills(client_id) == 1
    # It was looked up: the venue's own refusal of a second one is no reason to send it.
    assert loopback.requests(ORDER) == 1
    assert position().entry == 60_006.0
    assert order("STOP").state == "RESTING"


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (FaultKind.BANNED, {"seconds": 1.0}),
        (FaultKind.BUSY_503, {}),
        (FaultKind.REFUSED, {"code": -2015, "message": "Invalid API-key, IP, or permissions."}),
    ],
    ids=["banned", "busy", "refused"],
)
def test_a_lost_order_that_cannot_be_looked_up_stays_unknown_and_is_filled_once(
    loopback: Loopback, connected: Connect, kind: FaultKind, fields: dict[str, Any]
) -> None:
    exchange, client_id = connected(), want_entry()
    loopback.put(FaultKind.LOST_ANSWER, ORDER)
    loopback.put(kind, "GET /fapi/v1/order", **fields)
    assert settle(transaction, exchange, client_id) == "UNKNOWN"
    wait_until(lambda: not exchange.guard.wait_until(), "the wait is over")
    assert settle(transaction, exchange, client_id) == "FILLED"
    assert loopback.fills(client_id) == 1
    assert loopback.requests(ORDER) == 1


class Together:
    """A way to the venue on which two have looked an order up before either goes on."""

    def __init__(self, exchange: Exchange, both: threading.Barrier) -> None:
        self._exchange, self._both = exchange, both

    def find(self, ticket: Ticket) -> Report | None:
        found = self._exchange.find(ticket)
        self._both.wait(10)
        return found

    def place(self, ticket: Ticket, price: float, sent_at: float) -> Report:
        return self._exchange.place(ticket, price, sent_at)


def test_of_two_that_miss_a_lost_order_at_once_one_sends_it_again(
    loopback: Loopback, connected: Connect
) -> None:
    client_id = want_entry()
    with transaction() as session:
        assert errands.claim(session, client_id) is not None
    # Whoever claimed it died before it was sent.
    age_all()
    both, came = threading.Barrier(2), []

    def look_it_up(exchange: Any) -> None:
        with transaction() as session:
            errand = errands.claim(session, client_id)
        assert errand is not None
        try:
            came.append(errands.carry_out(transaction, exchange, client_id, errand).state)
        except UnknownOutcomeError:
            came.append("UNKNOWN")

    threads = [
        threading.Thread(target=look_it_up, args=(Together(connected(), both),)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(came) == ["FILLED", "UNKNOWN"]
    assert loopback.requests(ORDER) == 1
