"""The live market: what `trading.feed` has polled of the venue, minute by minute, in the store.

The panel ends with the newest minute that was told of, so that a feed that has stopped grows old
like any other, and everybody who asks for its age abstains, brakes or lets the universe expire.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.settings import Settings
from homeostat.store.database import reading
from homeostat.store.trading import MarketListing, MarketMinute
from homeostat.trading.market.panel import BAR_S, Floats, Instrument, Panel
from homeostat.trading.market.source import LOOKBACK, Market

FIELDS = ("open", "high", "low", "close", "volume")
#: Minutes that a process remembers: those that every symbol has told of, for no bar changes.
_MOST_KEPT = 4_000
#: How long a process goes by the listing that it knows.
_LISTING_S = 30.0
#: Where nothing was ever told of, the newest bar is taken to be this old: nobody may trade on it.
_NEVER_MINUTES = 1_440


@dataclass(frozen=True)
class LiveMarket(Market):
    """The venue's prices; `listing` is the order of its symbols in the store."""

    listing: int = 0

    def panel(self, at: datetime, bars: int = LOOKBACK) -> Panel:
        """Return the `bars` minutes up to the newest one that was told of and closed by `at`."""
        with reading() as session:
            last = _newest(session, self.listing, int(at.timestamp()) // BAR_S - 1)
            known = _minutes(session, self.listing, last - bars + 1, last)
        shape = (len(FIELDS), len(self.instruments))
        blank = np.full(shape, np.nan)
        minutes = range(last - bars + 1, last + 1)
        whole = np.stack([known.get(minute, blank) for minute in minutes]).transpose(1, 2, 0)
        times = BAR_S * np.arange(last - bars + 1, last + 1, dtype=np.int64)
        return Panel(tuple(one.symbol for one in self.instruments), times, *whole)


_kept: dict[tuple[int, int], Floats] = {}
_listed: dict[str, tuple[float, LiveMarket]] = {}


def market(settings: Settings) -> Market:
    """Return the live market as the newest listing has it; without one it has no symbols."""
    key = settings.database
    known = _listed.get(key)
    if known is not None and time.monotonic() - known[0] < _LISTING_S:
        return known[1]
    with reading() as session:
        row = listing(session)
    instruments = tuple(Instrument(**one) for one in row.instruments) if row else ()
    zero = np.empty((0, 0))
    strip = Panel((), np.empty(0, dtype=np.int64), zero, zero, zero, zero, zero)
    source = f"live: {settings.venue}, {len(instruments)} symbols"
    found = LiveMarket(source, instruments, strip, settings.state_dir, row.id if row else 0)
    if row is not None:
        _listed[key] = (time.monotonic(), found)
    return found


def forget() -> None:
    """Forget what this process remembers of the store."""
    _kept.clear()
    _listed.clear()


def listing(session: Session) -> MarketListing | None:
    """Return the newest listing."""
    return session.scalar(select(MarketListing).order_by(MarketListing.id.desc()).limit(1))


def list_symbols(session: Session, instruments: Sequence[Instrument]) -> MarketListing:
    """Write a new listing."""
    row = MarketListing(instruments=[asdict(one) for one in instruments])
    session.add(row)
    session.flush()
    return row


def keep(session: Session, row: MarketListing, told: Mapping[int, Mapping[str, Floats]]) -> int:
    """Enter bars (5,) by minute and symbol; returns how many bars were new.

    A minute that is told of again keeps what it has: a closed bar does not change.
    """
    places = {one["symbol"]: at for at, one in enumerate(row.instruments)}
    new = 0
    for minute, bars in sorted(told.items()):
        kept = session.get(MarketMinute, (minute, row.id), with_for_update=True)
        whole = _blank(row) if kept is None else _read(kept.bars).copy()
        for symbol, bar in bars.items():
            if not np.isfinite(whole[3, places[symbol]]):
                whole[:, places[symbol]] = bar
                new += 1
        if kept is None:
            session.add(MarketMinute(minute=minute, listing=row.id, bars=_written(whole)))
        else:
            kept.bars = _written(whole)
    session.flush()
    return new


def newest_of(session: Session, row: MarketListing, since: int) -> dict[str, int]:
    """Return by symbol the newest minute from `since` on that was told of."""
    found: dict[str, int] = {}
    known = _minutes(session, row.id, since, since + 10 * _NEVER_MINUTES)
    for minute in sorted(known):
        told = np.isfinite(known[minute][3])
        names = (one["symbol"] for one, there in zip(row.instruments, told, strict=True) if there)
        found.update(dict.fromkeys(names, minute))
    return found


def _newest(session: Session, listed: int, last: int) -> int:
    statement = select(func.max(MarketMinute.minute)).where(
        MarketMinute.listing == listed, MarketMinute.minute <= last
    )
    found = session.scalar(statement)
    return last - _NEVER_MINUTES if found is None else int(found)


def _minutes(session: Session, listed: int, first: int, last: int) -> dict[int, Floats]:
    """Return the minutes that were told of; one that is complete is read once per process."""
    found = {m: _kept[listed, m] for m in range(first, last + 1) if (listed, m) in _kept}
    wanted = [m for m in range(first, last + 1) if m not in found]
    if not wanted:
        return found
    statement = select(MarketMinute.minute, MarketMinute.bars).where(
        MarketMinute.listing == listed,
        MarketMinute.minute >= wanted[0],
        MarketMinute.minute <= wanted[-1],
    )
    for minute, content in session.execute(statement):
        found[minute] = _read(content)
        if np.isfinite(found[minute][3]).all():
            if len(_kept) >= _MOST_KEPT:
                _kept.clear()
            _kept[listed, minute] = found[minute]
    return found


def _blank(row: MarketListing) -> Floats:
    return np.full((len(FIELDS), len(row.instruments)), np.nan)


def _written(whole: Any) -> bytes:
    return bytes(np.ascontiguousarray(whole, dtype="<f8").tobytes())


def _read(content: bytes) -> Floats:
    return np.frombuffer(content, dtype="<f8").reshape(len(FIELDS), -1)
