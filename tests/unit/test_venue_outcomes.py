"""Which of ccxt's errors means what, and which rows of an answer may be used."""

from __future__ import annotations

import time
from typing import Any

import ccxt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.trading.venue import rows
from homeostat.trading.venue.outcomes import (
    BadRowsError,
    RefusedError,
    UnknownOutcomeError,
    WaitError,
    classified,
)
from homeostat.trading.venue.tickets import Report, report_of

MINUTE = 60
NOW = 1_700_000_040.0


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ccxt.DDoSProtection("binance 418 IP banned"), WaitError),
        (ccxt.RateLimitExceeded('binance {"code":-1015,"msg":"Too many new orders"}'), WaitError),
        (ccxt.RequestTimeout("binance POST"), UnknownOutcomeError),
        (ccxt.RequestTimeout('binance {"code":-1007,"msg":"Timeout"}'), UnknownOutcomeError),
        (ccxt.ExchangeNotAvailable("binance 503"), UnknownOutcomeError),
        (ccxt.NetworkError("binance connection reset"), UnknownOutcomeError),
        (
            ccxt.OperationFailed('binance {"code":-1006,"msg":"status unknown"}'),
            UnknownOutcomeError,
        ),
        (ccxt.InvalidOrder('binance {"code":-4116,"msg":"duplicated"}'), UnknownOutcomeError),
        (ccxt.BadResponse("binance half a body"), UnknownOutcomeError),
        (ccxt.ExchangeError("binance something"), UnknownOutcomeError),
        (AttributeError("'str' has no attribute 'get'"), UnknownOutcomeError),
        (ccxt.InvalidOrder('binance {"code":-4164,"msg":"notional"}'), RefusedError),
        (ccxt.InvalidNonce('binance {"code":-1021,"msg":"recvWindow"}'), RefusedError),
        (ccxt.OrderNotFound('binance {"code":-2013,"msg":"Order does not exist."}'), RefusedError),
        (ccxt.ExchangeError('binance {"code":-4140,"msg":"status"}'), RefusedError),
        (ccxt.InvalidOrder("amount must be greater than the precision"), RefusedError),
        (ccxt.BadSymbol("binance has no market"), RefusedError),
    ],
)
def test_an_error_is_a_refusal_a_wait_or_unknown(error: Exception, kind: type) -> None:
    assert type(classified(error, 0.0)) is kind


def test_no_signature_stands_in_an_error() -> None:
    error = ccxt.RequestTimeout("GET https://v/fapi/v1/order?timestamp=1&signature=0123abcdef")
    assert "0123abcdef" not in str(classified(error, 0.0))


def test_a_wait_ends_when_the_venue_said_or_after_a_minute() -> None:
    told = classified(ccxt.DDoSProtection("429"), 5_000_000_000.0)
    untold = classified(ccxt.DDoSProtection("429"), 0.0)
    assert isinstance(told, WaitError)
    assert isinstance(untold, WaitError)
    assert told.until == 5_000_000_000.0
    assert untold.until == pytest.approx(time.time() + 60, abs=2)


def good(count: int = 3) -> list[list[Any]]:
    last = NOW - NOW % MINUTE - MINUTE
    return [
        [1000 * (last - MINUTE * back), 100.0, 101.0, 99.0, 100.5, 7.0]
        for back in reversed(range(count))
    ]


def test_whole_rows_in_order_and_fresh_are_used() -> None:
    found = rows.candles("BTCUSDT", good(), NOW)
    assert len(found) == 3
    assert list(found.close) == [100.5] * 3


def test_the_bar_that_is_still_open_is_left_out() -> None:
    open_bar = [1000 * (NOW - NOW % MINUTE), 100.0, 101.0, 99.0, 100.0, 1.0]
    assert len(rows.candles("BTCUSDT", [*good(), open_bar], NOW)) == 3


@pytest.mark.parametrize("field", range(6))
@pytest.mark.parametrize("value", [None, float("nan"), "100", -1.0])
def test_a_row_with_one_bad_field_spoils_the_answer(field: int, value: Any) -> None:
    spoilt = good()
    spoilt[1][field] = value
    with pytest.raises(BadRowsError):
        rows.candles("BTCUSDT", spoilt, NOW)


def off_the_minute() -> list[list[Any]]:
    return [[opened - 30_000, *more] for opened, *more in good()]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "[[17000000",
        {"code": 0},
        [[]],
        [None],
        good()[::-1],
        [good()[0]] * 2,
        good()[:1],
        off_the_minute(),
    ],
    ids=["none", "empty", "text", "record", "no row", "null", "backwards", "doubled", "old", "off"],
)
def test_what_is_no_list_of_new_rows_in_order_is_not_used(answer: Any) -> None:
    late = NOW + (600.0 if answer == good()[:1] else 0.0)
    with pytest.raises(BadRowsError):
        rows.candles("BTCUSDT", answer, late)


@given(st.integers(0, 5), st.integers(0, 2), st.sampled_from([2, 3]))
def test_a_price_outside_its_bar_is_never_used(cut: int, row: int, field: int) -> None:
    spoilt = good()
    spoilt[row][field] = 100.2 if field == 2 else 100.3 + cut
    with pytest.raises(BadRowsError):
        rows.candles("BTCUSDT", spoilt, NOW)


@pytest.mark.parametrize("answer", ["[{", None, {}, [1], [{"a": 1}], [{"a": 1, "b": None}]])
def test_records_need_their_fields(answer: Any) -> None:
    with pytest.raises(BadRowsError):
        rows.records(answer, "a", "b")
    assert rows.records([{"a": 0, "b": ""}], "a", "b")


def answered(**more: Any) -> dict[str, Any]:
    """Return ccxt's order as it is after a fill, with some of its fields otherwise."""
    info = {"executedQty": "0.01", "avgPrice": "60000.0"} | more.pop("info", {})
    return {"status": "closed", "clientOrderId": "ours", "info": info} | more


def test_an_order_is_read_with_what_it_filled_and_at_what_price() -> None:
    assert report_of(answered(), "ours") == Report("ours", "FILLED", 0.01, 60_000.0)
    assert report_of(answered(status="expired"), "ours").state == "CANCELED"
    open_yet = answered(status="open", info={"executedQty": "0", "avgPrice": "0"})
    assert report_of(open_yet, "ours").state == "RESTING"


@pytest.mark.parametrize(
    "answer",
    [
        answered(info={"avgPrice": "0"}),
        answered(info={"executedQty": "0"}),
        answered(info={"executedQty": "much"}),
        answered(clientOrderId="another"),
        answered(status=None),
        answered(status="strange"),
        {},
        None,
        "filled",
    ],
    ids=str,
)
def test_an_answer_that_is_not_clearly_our_order_leaves_its_outcome_unknown(answer: Any) -> None:
    with pytest.raises(UnknownOutcomeError):
        report_of(answer, "ours")
