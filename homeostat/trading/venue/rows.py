"""Whether the rows of an answer may be used: whole, in order, and fresh.

A truncated answer comes through the client without an error, as rows of None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

from homeostat.trading.market.panel import BAR_S, Candles
from homeostat.trading.market.port import FRESH_S
from homeostat.trading.venue.outcomes import BadRowsError

_FIELDS = 6


def candles(symbol: str, rows: Any, now: float) -> Candles:
    """Return the closed one-minute candles of an answer's rows; raises BadRowsError.

    `now` is in epoch seconds; the bar that has not closed yet is left out.
    """
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
        raise BadRowsError(f"The venue gave no candles of {symbol}.")
    for row in rows:
        if not _whole(row):
            raise BadRowsError(f"A candle of {symbol} is not whole: {row!r}.")
    found = np.array(rows, dtype=np.float64)
    times = (found[:, 0] / 1000).astype(np.int64)
    if (np.diff(times) <= 0).any() or (times % BAR_S).any():
        raise BadRowsError(f"The candles of {symbol} are not in order, a minute apart.")
    opened, high, low, close = found[:, 1:5].T
    if (high < np.maximum(opened, close)).any() or (low > np.minimum(opened, close)).any():
        raise BadRowsError(f"A candle of {symbol} lies outside its own range.")
    closed = times + BAR_S <= now
    if not closed.any() or now - float(times[closed][-1]) - BAR_S > FRESH_S:
        raise BadRowsError(f"The newest candle of {symbol} is older than {FRESH_S:g} s.")
    kept = found[closed]
    return Candles(symbol, times[closed], *(kept[:, column] for column in range(1, _FIELDS)))


def _whole(row: Any) -> bool:
    return (
        isinstance(row, Sequence)
        and not isinstance(row, str)
        and len(row) >= _FIELDS
        and all(isinstance(one, int | float) and isfinite(one) for one in row[:_FIELDS])
        and all(price > 0 for price in row[1:5])
        and row[5] >= 0
    )


def records(found: Any, *needed: str) -> list[Mapping[str, Any]]:
    """Return an answer's list of records, each with these fields; raises BadRowsError."""
    if not isinstance(found, list):
        raise BadRowsError(f"The venue gave no list: {str(found)[:80]!r}.")
    for record in found:
        if not isinstance(record, Mapping) or any(record.get(name) is None for name in needed):
            raise BadRowsError(f"A record lacks one of {', '.join(needed)}: {str(record)[:120]!r}.")
    return found
