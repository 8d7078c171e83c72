"""The live feed: closed minutes polled by the real client, and what a feed that stops comes to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from sqlalchemy import func, select

from homeostat.clock import utcnow
from homeostat.settings import settings
from homeostat.store.database import reading, transaction
from homeostat.store.trading import MarketListing, MarketMinute
from homeostat.trading import feed, signals
from homeostat.trading.market import live, port
from homeostat.trading.venue.exchange import Exchange
from homeostat.trading.venue.loopback import FaultKind, SetPrices
from homeostat.trading.venue.loopback.prices import Candle
from tests.conftest import forget_settings
from tests.loopback_venue import Loopback

Connect = Callable[..., Exchange]
KLINES = "GET /fapi/v1/klines"
BARS = 120


class Wave(SetPrices):
    """Prices that move, the same at the same minute."""

    def candles(self, symbol: str, count: int) -> list[Candle]:
        last = int(time.time()) // 60
        found = []
        for minute in range(last - count + 1, last + 1):
            price = Decimal(str(round(100 + 5 * float(np.sin(minute / 7)) + len(symbol), 4)))
            high, low = price + 1, price - 1
            found.append((minute * 60_000, price, high, low, price, Decimal(3)))
        return found


@pytest.fixture
def moving(loopback: Loopback, monkeypatch: pytest.MonkeyPatch, store: str) -> Iterator[Loopback]:
    """The loopback venue with prices that move, and a market that is polled of it."""
    del store
    loopback.exchange.floor.prices = Wave({"BTCUSDT": 60_000.0, "DOGEUSDT": 0.1, "GONEUSDT": 1.0})
    monkeypatch.setenv("HOMEOSTAT_MARKET_LIVE", "true")
    forget_settings()
    live.forget()
    yield loopback
    live.forget()


def poll(exchange: Exchange, at: datetime | None = None) -> feed.Polled:
    return feed.poll(transaction, exchange, at or utcnow(), first=BARS)


@pytest.mark.usefixtures("moving")
def test_a_poll_brings_the_closed_minutes_of_what_trades(
    moving: Loopback, connected: Connect
) -> None:
    now = utcnow()
    done = poll(connected(), now)
    assert (done.symbols, done.asked, done.failed, done.waiting) == (2, 2, {}, "")
    assert done.bars == 2 * BARS
    market = port.market(settings())
    assert market.source == "live: paper, 2 symbols"
    coin = {one.symbol: one for one in market.instruments}["BTCUSDT"]
    assert (coin.base, coin.min_notional) == ("BTC", 5.0)
    assert 0 < coin.half_spread < 0.001
    panel = market.panel(now, BARS)
    assert sorted(panel.symbols) == ["BTCUSDT", "DOGEUSDT"]
    assert 0 <= port.age_s(panel, now) < 60
    minutes = (panel.times // 60).astype(float)
    row = panel.symbols.index("BTCUSDT")
    assert panel.close[row] == pytest.approx(100 + 5 * np.sin(minutes / 7) + 7, abs=1e-4)
    assert signals.part(panel, now) == ("", "")
    del moving


def test_a_second_poll_asks_for_what_is_missing_alone(moving: Loopback, connected: Connect) -> None:
    exchange = connected()
    now = utcnow()
    poll(exchange, now)
    asked, used = moving.requests(KLINES), moving.exchange.limit.used
    done = poll(exchange, now)
    assert (done.asked, done.bars) == (0, 0)
    assert moving.requests(KLINES) == asked
    assert moving.exchange.limit.used == used


def test_222_symbols_are_polled_within_the_weight_limit() -> None:
    # A poll after a minute asks for two rows a symbol; the first one, or one after an absence, for
    # no more than 499: one and two units of weight by the venue's table.
    assert feed.FIRST_BARS + 1 <= 499
    assert 2 * feed.SYMBOLS + 100 < 0.9 * 2_400


def test_a_symbol_that_fails_is_left_out_and_asked_for_again(
    moving: Loopback, connected: Connect
) -> None:
    exchange = connected()
    now = utcnow()
    moving.put(FaultKind.SHORT_ROWS, KLINES)
    first = poll(exchange, now)
    assert (len(first.failed), first.bars) == (1, BARS)
    live.forget()
    panel = port.market(settings()).panel(now, BARS)
    assert sorted(signals.part(panel, now)) == ["", "STALE"]
    second = poll(exchange, now)
    assert (second.asked, second.failed, second.bars) == (1, {}, BARS)
    panel = port.market(settings()).panel(now, BARS)
    assert signals.part(panel, now) == ("", "")


def test_a_ban_in_the_middle_ends_the_poll_and_keeps_what_came(
    moving: Loopback, connected: Connect
) -> None:
    exchange = connected()
    poll(exchange)
    later = utcnow() + timedelta(minutes=0)
    with transaction() as session:
        for row in session.scalars(select(MarketMinute)):
            session.delete(row)
    live.forget()
    # The first symbol is answered, and the second one banned.
    real = exchange.candles
    seen: list[str] = []

    def candles(symbol: str, bars: int) -> object:
        if seen:
            moving.put(FaultKind.BANNED, KLINES, seconds=60.0)
        seen.append(symbol)
        return real(symbol, bars)

    exchange.candles = candles  # type: ignore[method-assign,assignment]  # a ban between two answers
    done = poll(exchange, later)
    assert "wait" in done.waiting
    assert done.bars == BARS
    sent = len(moving.exchange.log)
    assert "wait" in poll(exchange).waiting
    assert len(moving.exchange.log) == sent


def test_a_feed_that_stopped_grows_old_and_everybody_abstains(
    moving: Loopback, connected: Connect
) -> None:
    now = utcnow()
    poll(connected(), now)
    market = port.market(settings())
    later = now + timedelta(minutes=4)
    panel = market.panel(later, BARS)
    assert port.age_s(panel, later) > port.FRESH_S
    assert set(signals.part(panel, later)) == {"STALE"}
    del moving


@pytest.mark.usefixtures("moving")
def test_a_feed_that_never_began_has_no_fresh_price() -> None:
    now = utcnow()
    market = port.market(settings())
    assert market.instruments == ()
    assert port.age_s(market.panel(now, BARS), now) > port.FRESH_S


def test_bars_that_are_told_again_do_not_change(moving: Loopback, connected: Connect) -> None:
    now = utcnow()
    poll(connected(), now)
    with transaction() as session:
        row = live.listing(session)
        assert row is not None
        minute = int(now.timestamp()) // 60 - 1
        told = {minute: {"BTCUSDT": np.full(5, 1.0)}}
        assert live.keep(session, row, told) == 0
    panel = port.market(settings()).panel(now, BARS)
    assert panel.close[panel.symbols.index("BTCUSDT"), -1] > 90
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(MarketListing)) == 1
    del moving
