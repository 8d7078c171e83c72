"""The loopback venue through the real ccxt client: account, refusals, stops, limits, faults."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ccxt
import httpx
import pytest

from homeostat.trading.venue.loopback import FaultKind
from homeostat.trading.venue.loopback.limits import PATIENCE, WeightLimit
from tests.loopback_venue import BTC, Loopback


@pytest.fixture
def client(loopback: Loopback) -> Any:
    return loopback.naive(enableRateLimit=False)


def buy(client: Any, quantity: float = 0.01, **params: Any) -> Any:
    return client.create_order(BTC, "market", "buy", quantity, params=params)


def sell_stop(client: Any, trigger: float, **params: Any) -> Any:
    params = {"stopLossPrice": trigger, "reduceOnly": True, **params}
    return client.create_order(BTC, "market", "sell", 0.01, params=params)


def code_of(error: BaseException) -> int:
    text = str(error)
    return int(json.loads(text[text.index("{") :])["code"])


def test_a_market_order_fills_at_the_ask_and_moves_position_and_wallet(
    client: Any, loopback: Loopback
) -> None:
    order = buy(client, newClientOrderId="mine")
    assert (order["status"], order["clientOrderId"], order["filled"]) == ("closed", "mine", 0.01)
    assert order["average"] == pytest.approx(60_006.0)
    held = client.fetch_positions()[0]
    assert (held["contracts"], held["side"], held["entryPrice"]) == (0.01, "long", 60_006.0)
    assert client.fetch_balance()["USDT"]["total"] == pytest.approx(10_000 - 600.06 * 0.0005 - 0.06)
    loopback.prices.put("BTCUSDT", 61_000.0)
    client.create_order(BTC, "market", "sell", 0.01, params={"reduceOnly": True})
    assert client.fetch_positions() == []
    earned = 0.01 * (60_993.9 - 60_006.0) - 0.0005 * (600.06 + 609.939)
    assert client.fetch_balance()["USDT"]["total"] == pytest.approx(10_000 + earned)


def test_a_position_may_be_turned_over(client: Any, loopback: Loopback) -> None:
    buy(client)
    client.create_order(BTC, "market", "sell", 0.03)
    assert loopback.amount() == -0.02
    assert client.fetch_positions()[0]["entryPrice"] == pytest.approx(59_994.0)


def test_a_stop_rests_until_its_trigger_is_touched_and_then_reduces(
    client: Any, loopback: Loopback
) -> None:
    buy(client)
    sell_stop(client, 59_000.0, clientAlgoId="stop")
    assert [one["clientOrderId"] for one in client.fetch_open_orders(BTC, params={"stop": True})]
    loopback.prices.put("BTCUSDT", 59_000.1)
    client.fetch_time()
    client.fetch_positions()
    assert loopback.amount() == 0.01
    loopback.prices.put("BTCUSDT", 59_000.0)
    assert client.fetch_positions() == []
    found = client.fetch_order(None, BTC, params={"clientAlgoId": "stop", "stop": True})
    assert found["status"] == "closed"
    assert loopback.fills("stop") == 1


def test_a_take_profit_of_a_short_lies_below_the_price(client: Any, loopback: Loopback) -> None:
    client.create_order(BTC, "market", "sell", 0.01)
    params = {"takeProfitPrice": 59_000.0, "reduceOnly": True, "clientAlgoId": "target"}
    client.create_order(BTC, "market", "buy", 0.01, params=params)
    loopback.prices.put("BTCUSDT", 58_999.0)
    assert client.fetch_positions() == []
    assert loopback.fills("target") == 1


def test_a_canceled_stop_rests_no_more(client: Any) -> None:
    buy(client)
    sell_stop(client, 59_000.0, clientAlgoId="stop")
    client.cancel_order(None, BTC, params={"clientAlgoId": "stop", "stop": True})
    assert client.fetch_open_orders(BTC, params={"stop": True}) == []
    with pytest.raises(ccxt.BaseError) as caught:
        client.cancel_order(None, BTC, params={"clientAlgoId": "stop", "stop": True})
    assert code_of(caught.value) == -2011


def test_a_limit_order_rests_and_fills_at_its_price(client: Any, loopback: Loopback) -> None:
    client.create_order(BTC, "limit", "buy", 0.01, 59_000.0, {"newClientOrderId": "low"})
    assert len(client.fetch_open_orders(BTC)) == 1
    loopback.prices.put("BTCUSDT", 58_900.0)
    assert client.fetch_order(None, BTC, {"origClientOrderId": "low"})["status"] == "closed"


STOP_FIELDS = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "quantity": 1}
MARKET_FIELDS = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET"}


def stop_above_the_price(client: Any) -> None:
    buy(client)
    sell_stop(client, 60_001.0)


def same_id_twice(client: Any) -> None:
    for _ in range(2):
        client.create_order(BTC, "limit", "buy", 0.01, 50_000.0, {"newClientOrderId": "twice"})


def wrong_secret(client: Any) -> None:
    client.secret = "wrong"
    client.fetch_balance()


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        pytest.param(lambda c: buy(c, 0.00001), -4164, id="too small"),
        pytest.param(lambda c: buy(c, reduceOnly=True), -2022, id="nothing to reduce"),
        pytest.param(stop_above_the_price, -2021, id="would trigger at once"),
        pytest.param(lambda c: buy(c, 100.0), -2019, id="no margin"),
        pytest.param(
            lambda c: c.fetch_order(None, BTC, {"origClientOrderId": "no"}), -2013, id="no order"
        ),
        pytest.param(
            lambda c: c.fapiPrivatePostLeverage({"symbol": "BTCUSDT", "leverage": 126}),
            -4028,
            id="leverage",
        ),
        pytest.param(
            lambda c: c.fapiPrivatePostOrder({**STOP_FIELDS, "stopPrice": 1}), -4120, id="old path"
        ),
        pytest.param(
            lambda c: c.fapiPrivatePostOrder({**MARKET_FIELDS, "quantity": "0.0123456789"}),
            -1111,
            id="too precise",
        ),
        pytest.param(
            lambda c: c.create_order("GONE/USDT:USDT", "market", "buy", 100), -4140, id="delisting"
        ),
        pytest.param(same_id_twice, -4116, id="same id twice"),
        pytest.param(wrong_secret, -1022, id="wrong secret"),
    ],
)
def test_a_refusal_has_the_code_of_the_real_venue(
    client: Any, ask: Callable[[Any], None], code: int
) -> None:
    with pytest.raises(ccxt.BaseError) as caught:
        ask(client)
    assert code_of(caught.value) == code


def test_a_reduce_only_order_may_be_small_and_is_cut_to_the_position(
    client: Any, loopback: Loopback
) -> None:
    buy(client, 0.0001)
    order = client.create_order(BTC, "market", "sell", 0.00005, params={"reduceOnly": True})
    assert order["status"] == "closed"
    order = client.create_order(BTC, "market", "sell", 1.0, params={"reduceOnly": True})
    assert order["filled"] == pytest.approx(0.00005)
    assert loopback.amount() == 0


def test_every_answer_tells_the_weight_used(client: Any, loopback: Loopback) -> None:
    loopback.exchange.limit.window_s = 3600
    used = []
    klines = {"symbol": "BTCUSDT", "interval": "1m", "limit": 600}
    for call, fields in (
        (client.fapiPublicGetTime, {}),
        (client.fapiPublicGetKlines, klines),
        (client.fapiPrivateGetOpenOrders, {}),
        (client.fapiPrivateV3GetAccount, {}),
    ):
        call(fields)
        used.append(int(client.last_response_headers["X-MBX-USED-WEIGHT-1M"]))
    assert used == [1, 6, 46, 51]


def test_who_goes_on_after_429_is_banned(loopback: Loopback) -> None:
    loopback.exchange.limit = WeightLimit(limit=2, window_s=3600)
    found = [httpx.get(f"{loopback.server.url}/fapi/v1/time") for _ in range(3 + PATIENCE)]
    assert [one.status_code for one in found] == [200, 200, 429, 429, 429, 418]
    assert int(found[2].headers["Retry-After"]) > 0
    assert "banned until" in found[-1].json()["msg"]
    assert loopback.exchange.limit.knocks == PATIENCE


def test_a_lost_answer_was_carried_out_all_the_same(client: Any, loopback: Loopback) -> None:
    client.load_markets()
    loopback.put(FaultKind.LOST_ANSWER, "POST /fapi/v1/order")
    with pytest.raises(ccxt.NetworkError):
        buy(client, newClientOrderId="lost")
    assert loopback.fills("lost") == 1
    loopback.put(FaultKind.TIMEOUT_1007, "POST /fapi/v1/order", done=False)
    with pytest.raises(ccxt.RequestTimeout):
        buy(client, newClientOrderId="never")
    assert loopback.fills("never") == 0
    assert loopback.exchange.script.waiting() == 0


def test_an_order_that_comes_too_late_is_refused(client: Any, loopback: Loopback) -> None:
    client.load_markets()
    client.options["recvWindow"] = 50
    loopback.put(FaultKind.LATE, "POST /fapi/v1/order", seconds=0.2)
    with pytest.raises(ccxt.NetworkError):
        buy(client, newClientOrderId="late")
    time.sleep(0.3)
    assert loopback.fills("late") == 0


def test_the_command_serves_the_market_of_the_settings(tmp_path: Path) -> None:
    script = tmp_path / "faults.json"
    script.write_text(json.dumps([{"kind": "REFUSED", "on": "GET /fapi/v1/time", "code": -1}]))
    recorded = tmp_path / "BTCUSDT.csv"
    rows = [f"{1_700_000_000 + 60 * n},100,102,99,101,5" for n in range(200)]
    recorded.write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]) + "\n")
    command = [sys.executable, "-m", "homeostat.trading.venue.loopback", "--faults", str(script)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        env={**os.environ, "HOMEOSTAT_MARKET_DATA": str(recorded)},
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert httpx.get(f"{url}/fapi/v1/time").json()["code"] == -1
            rows_ = httpx.get(f"{url}/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=5").json()
            state = httpx.get(f"{url}/loopback/state").json()
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert url.startswith("http://127.0.0.1:")
    assert len(rows_) == 5
    assert state["requests"] == 2
