"""What goes wrong at the real venue: each trap through the real client, with the naive way beside.

The naive way is plain ccxt as its manual shows it. Where it does not fail, the trap proves
nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import ccxt
import pytest

from homeostat.trading.venue.exchange import Exchange
from homeostat.trading.venue.loopback import FaultKind
from homeostat.trading.venue.outcomes import (
    BadRowsError,
    RefusedError,
    UnknownOutcomeError,
    WaitError,
)
from homeostat.trading.venue.tickets import Kind, Ticket
from tests.loopback_venue import BTC, Loopback

Connect = Callable[..., Exchange]
ORDER = "POST /fapi/v1/order"
ENTRY = Ticket("decision-1-entry", "BTCUSDT", 1, 0.01)
STOP = Ticket("decision-1-stop", "BTCUSDT", -1, 0.01, Kind.STOP, 59_000.0, reduce_only=True)


def buy(client: Any, **params: Any) -> Any:
    return client.create_order(BTC, "market", "buy", 0.01, params=params)


# 1. 429 and 418


@pytest.mark.parametrize(
    ("kind", "seconds"), [(FaultKind.TOO_MANY, 7.0), (FaultKind.BANNED, 120.0)]
)
def test_a_wait_that_one_worker_is_told_of_holds_for_all(
    loopback: Loopback, connected: Connect, kind: FaultKind, seconds: float
) -> None:
    first, second = connected(), connected()
    first.balance()
    second.balance()
    loopback.put(kind, seconds=seconds)
    with pytest.raises(WaitError) as caught:
        first.balance()
    assert caught.value.until == pytest.approx(time.time() + seconds, abs=1.5)
    sent = len(loopback.exchange.log)
    for one in (first, second):
        with pytest.raises(WaitError):
            one.place(ENTRY, 60_000.0)
        with pytest.raises(WaitError):
            one.place(STOP, 60_000.0)
    assert len(loopback.exchange.log) == sent
    assert loopback.exchange.limit.knocks == 0


def test_the_naive_client_goes_on_into_the_ban(loopback: Loopback) -> None:
    client = loopback.naive(enableRateLimit=False, maxRetriesOnFailure=3)
    client.load_markets()
    client.options["maxRetriesOnFailure"] = 3
    loopback.put(FaultKind.BANNED, seconds=60)
    with pytest.raises(ccxt.DDoSProtection):
        client.fetch_balance()
    assert loopback.exchange.limit.knocks == 3


def test_after_the_wait_calls_go_through_again(loopback: Loopback, connected: Connect) -> None:
    exchange = connected()
    exchange.balance()
    loopback.put(FaultKind.TOO_MANY, seconds=0.3)
    with pytest.raises(WaitError) as caught:
        exchange.balance()
    # The header speaks in whole seconds.
    time.sleep(max(0.0, caught.value.until - time.time()))
    assert exchange.balance() == 10_000.0


# 3. Unknown outcomes, and no retries


LOST = [
    (FaultKind.LOST_ANSWER, {}),
    (FaultKind.TIMEOUT_1007, {}),
    (FaultKind.BUSY_503, {}),
    (FaultKind.TRUNCATED, {}),
    (FaultKind.DRIP, {"seconds": 30.0}),
]


@pytest.mark.parametrize(("kind", "fields"), LOST, ids=[kind.value for kind, _ in LOST])
def test_an_order_whose_answer_was_lost_is_unknown_and_found(
    loopback: Loopback, connected: Connect, kind: FaultKind, fields: dict[str, Any]
) -> None:
    exchange = connected(call_s=0.6)
    exchange.balance()
    loopback.put(kind, ORDER, **fields)
    with pytest.raises(UnknownOutcomeError):
        exchange.place(ENTRY, 60_000.0)
    found = exchange.find(ENTRY)
    assert found is not None
    assert (found.state, found.quantity) == ("FILLED", 0.01)
    assert loopback.requests(ORDER) == 1


@pytest.mark.parametrize("kind", [FaultKind.TIMEOUT_1007, FaultKind.BUSY_503])
def test_an_order_that_was_not_carried_out_is_unknown_and_not_found(
    loopback: Loopback, connected: Connect, kind: FaultKind
) -> None:
    exchange = connected()
    loopback.put(kind, ORDER, done=False)
    with pytest.raises(UnknownOutcomeError):
        exchange.place(ENTRY, 60_000.0)
    assert exchange.find(ENTRY) is None


@pytest.mark.parametrize(("ago_s", "fills"), [(8.0, 1), (11.0, 0)])
def test_the_venue_takes_an_order_in_for_ten_seconds_after_its_claim(
    loopback: Loopback, connected: Connect, ago_s: float, fills: int
) -> None:
    exchange = connected()
    exchange.balance()
    with contextlib.suppress(RefusedError):
        exchange.place(ENTRY, 60_000.0, time.time() - ago_s)
    assert loopback.requests(ORDER) == 1
    assert loopback.fills(ENTRY.client_id) == fills


def test_the_naive_client_with_retries_fills_a_lost_answer_twice(loopback: Loopback) -> None:
    client = loopback.naive(enableRateLimit=False)
    client.load_markets()
    client.options["maxRetriesOnFailure"] = 3
    loopback.put(FaultKind.LOST_ANSWER, ORDER)
    buy(client, newClientOrderId="the-same")
    assert loopback.fills("the-same") == 2


def test_our_client_never_retries_by_itself(loopback: Loopback, connected: Connect) -> None:
    exchange = connected()
    exchange.balance()
    sent = len(loopback.exchange.log)
    loopback.put(FaultKind.BUSY_503, times=5)
    with pytest.raises(UnknownOutcomeError):
        exchange.balance()
    assert len(loopback.exchange.log) == sent + 1


# 4. Truncated answers


@pytest.mark.parametrize(
    "kind", [FaultKind.TRUNCATED, FaultKind.SHORT_ROWS, FaultKind.STALE], ids=str
)
def test_rows_that_are_not_whole_or_fresh_are_not_used(
    loopback: Loopback, connected: Connect, kind: FaultKind
) -> None:
    exchange = connected()
    assert len(exchange.candles("BTCUSDT", 30)) == 30
    loopback.put(kind, "GET /fapi/v1/klines", seconds=600.0)
    with pytest.raises(BadRowsError):
        exchange.candles("BTCUSDT", 30)


@pytest.mark.parametrize("kind", [FaultKind.TRUNCATED, FaultKind.SHORT_ROWS], ids=str)
def test_the_naive_client_gives_rows_of_none_without_an_error(
    loopback: Loopback, kind: FaultKind
) -> None:
    client = loopback.naive(enableRateLimit=False)
    client.load_markets()
    loopback.put(kind, "GET /fapi/v1/klines")
    rows = client.fetch_ohlcv(BTC, "1m", limit=30)
    assert rows
    assert all(row[4] is None for row in rows)


def test_half_a_list_of_positions_is_no_list(loopback: Loopback, connected: Connect) -> None:
    exchange = connected()
    exchange.place(ENTRY, 60_000.0)
    loopback.put(FaultKind.TRUNCATED, "GET /fapi/v3/positionRisk")
    with pytest.raises(BadRowsError):
        exchange.holdings()
    assert exchange.holdings()["BTCUSDT"].quantity == 0.01


# 5. The stop


def test_a_stop_is_an_order_of_its_own_that_is_seen_to_rest(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    exchange.place(ENTRY, 60_000.0)
    exchange.place(STOP, 60_000.0)
    (resting,) = exchange.resting("BTCUSDT")
    assert resting == STOP
    loopback.prices.put("BTCUSDT", 58_990.0)
    assert exchange.holdings() == {}
    found = exchange.find(STOP)
    assert found is not None
    assert found.state == "FILLED"


def test_a_stop_that_was_acknowledged_and_dropped_is_seen_to_be_missing(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    exchange.place(ENTRY, 60_000.0)
    loopback.put(FaultKind.DROPPED, "POST /fapi/v1/algoOrder")
    assert exchange.place(STOP, 60_000.0).state == "RESTING"
    assert exchange.resting("BTCUSDT") == []
    assert exchange.find(STOP) is None


def test_the_naive_attached_stop_is_dropped_without_a_word(loopback: Loopback) -> None:
    client = loopback.naive(enableRateLimit=False)
    order = buy(client, stopLoss={"type": "market", "triggerPrice": 59_000.0})
    assert order["status"] == "closed"
    assert client.fetch_open_orders(BTC, params={"stop": True}) == []
    assert client.fetch_open_orders(BTC) == []


# 6. Minimum notional


def test_an_order_below_the_least_notional_is_refused_before_it_is_sent(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    with pytest.raises(RefusedError) as caught:
        exchange.place(Ticket("small", "BTCUSDT", 1, 0.00008), 60_000.0)
    assert caught.value.code == -4164
    assert loopback.requests(ORDER) == 0
    exchange.place(Ticket("large", "BTCUSDT", 1, 0.00009), 60_000.0)
    exit_ = Ticket("exit", "BTCUSDT", -1, 0.00002, reduce_only=True)
    assert exchange.place(exit_, 60_000.0).state == "FILLED"


def test_the_naive_client_sends_what_is_too_small(loopback: Loopback) -> None:
    client = loopback.naive(enableRateLimit=False)
    with pytest.raises(ccxt.BaseError, match="-4164"):
        client.create_order(BTC, "market", "buy", 0.00008)
    assert loopback.requests(ORDER) == 1


# 7. The options of a keyed client


def test_a_keyed_client_asks_for_the_linear_listing_alone(
    loopback: Loopback, connected: Connect
) -> None:
    connected().balance()
    asked = [line for line, _ in loopback.exchange.log]
    assert sorted(set(asked)) == [
        "GET /fapi/v1/exchangeInfo",
        "GET /fapi/v1/time",
        "GET /fapi/v3/account",
    ]


def test_the_naive_keyed_client_asks_for_currencies_elsewhere(loopback: Loopback) -> None:
    client = loopback.naive(enableRateLimit=False)
    client.options["fetchCurrencies"] = True
    with pytest.raises(ccxt.NotSupported, match="sapi"):
        client.load_markets()


# 8. Deadline


@pytest.mark.parametrize("kind", [FaultKind.HANG, FaultKind.DRIP], ids=str)
def test_no_call_takes_longer_than_its_deadline(
    loopback: Loopback, connected: Connect, kind: FaultKind
) -> None:
    exchange = connected(call_s=0.5)
    exchange.balance()
    loopback.put(kind, seconds=5.0)
    began = time.monotonic()
    with pytest.raises(UnknownOutcomeError):
        exchange.balance()
    assert time.monotonic() - began < 4.0
    assert exchange.balance() == 10_000.0


def test_a_socket_time_out_alone_lets_a_trickling_answer_hold_the_caller(
    loopback: Loopback,
) -> None:
    client = loopback.naive(enableRateLimit=False, timeout=200)
    client.load_markets()
    loopback.put(FaultKind.DRIP, seconds=1.0)
    began = time.monotonic()
    client.fetch_balance()
    assert time.monotonic() - began > 0.9
