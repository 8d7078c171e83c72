"""The live feed: polls the venue's closed minutes of every symbol, within its weight limit.

One symbol that fails is left for the next poll; a venue that asks to wait, or does not answer, ends
this one. What was not polled is missing from the market, and whoever trades on it abstains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.store.trading import MarketListing
from homeostat.trading.market import live
from homeostat.trading.market.panel import BAR_S, Candles, Floats
from homeostat.trading.venue.exchange import Exchange
from homeostat.trading.venue.outcomes import BadRowsError, RefusedError, VenueError

Unit = Callable[[], AbstractContextManager[Session]]
#: As many symbols as the seed's universe has.
SYMBOLS = 222
#: Minutes that a symbol is filled up with at first: four hours are what the flow looks back. 499
#: is the most that costs two units of weight a symbol, so that all of them cost 444 of 2,400.
FIRST_BARS = 480
#: The list of symbols is asked for anew this often.
LISTING_LIFE = timedelta(days=1)
#: Minutes written in one transaction at most: the poll must not hold the write lock for long.
_MINUTES = 120


@dataclass
class Polled:
    """What one poll brought; `failed` symbols are asked for again at the next one."""

    symbols: int = 0
    asked: int = 0
    bars: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    waiting: str = ""

    def as_json(self) -> dict[str, JsonValue]:
        """Return it for logs and the ledger."""
        return {**vars(self), "failed": dict(list(self.failed.items())[:5])}


def poll(
    unit: Unit, exchange: Exchange, at: datetime, most: int = SYMBOLS, first: int = FIRST_BARS
) -> Polled:
    """Bring the store up to the newest minute that closed by `at`; raises nothing for the venue."""
    done = Polled()
    try:
        row = _listing(unit, exchange, most)
        _bars(unit, exchange, row, int(at.timestamp()) // BAR_S - 1, first, done)
    except VenueError as error:
        done.waiting = str(error)
    return done


def _listing(unit: Unit, exchange: Exchange, most: int) -> MarketListing:
    with unit() as session:
        row = live.listing(session)
    if row is not None and utcnow() - row.at < LISTING_LIFE:
        return row
    try:
        found = exchange.instruments(most)
    except VenueError:
        if row is None:
            raise
        # Yesterday's list is better than no prices at all.
        return row
    if row is not None and [one["symbol"] for one in row.instruments] == [s.symbol for s in found]:
        return row
    with unit() as session:
        return live.list_symbols(session, found)


def _bars(
    unit: Unit, exchange: Exchange, row: MarketListing, last: int, first: int, done: Polled
) -> None:
    with unit() as session:
        newest = live.newest_of(session, row, last - first)
    symbols = [one["symbol"] for one in row.instruments]
    done.symbols = len(symbols)
    told: dict[int, dict[str, Floats]] = {}
    try:
        for symbol in symbols:
            missing = min(first, last - newest.get(symbol, last - first))
            if missing <= 0:
                continue
            done.asked += 1
            try:
                _take(exchange.candles(symbol, missing), last - missing, told)
            except (BadRowsError, RefusedError) as error:
                done.failed[symbol] = str(error)
    finally:
        # What came before the venue asked to wait is kept.
        done.bars = _kept(unit, row, told)


def _take(candles: Candles, after: int, told: dict[int, dict[str, Floats]]) -> None:
    columns = [getattr(candles, name) for name in live.FIELDS]
    for minute, *bar in zip((candles.times // BAR_S).tolist(), *columns, strict=True):
        if minute > after:
            told.setdefault(minute, {})[candles.symbol] = np.array(bar)


def _kept(unit: Unit, row: MarketListing, told: Mapping[int, Mapping[str, Floats]]) -> int:
    minutes, new = sorted(told), 0
    for begin in range(0, len(minutes), _MINUTES):
        with unit() as session:
            part = {minute: told[minute] for minute in minutes[begin : begin + _MINUTES]}
            new += live.keep(session, row, part)
    return new
