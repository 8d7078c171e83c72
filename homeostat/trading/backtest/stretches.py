"""Recorded series laid side by side on one clock, in stretches without a long silence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from homeostat.trading.market.panel import BAR_S, Candles, Panel, on_grid

#: After an hour in which no series has a bar, another stretch begins.
SILENCE_S = 3_600
_FIELDS = ("times", "open", "high", "low", "close", "volume")


def stretches(series: Sequence[Candles]) -> Iterator[Panel]:
    """Yield panels of the series that have bars in them, oldest first, each on whole minutes.

    What was recorded at the same time is traded at the same time, out of one book.
    """
    whole = [replace(one, times=one.times // BAR_S * BAR_S) for one in series]
    clock = np.unique(np.concatenate([one.times for one in whole]))
    cuts = np.flatnonzero(np.diff(clock) > SILENCE_S) + 1
    for part in np.split(clock, cuts):
        first, last = int(part[0]), int(part[-1])
        present = [_between(one, first, last) for one in whole]
        grid = np.arange(first, last + BAR_S, BAR_S, dtype=np.int64)
        yield on_grid([one for one in present if len(one)], grid)


def _between(one: Candles, first: int, last: int) -> Candles:
    inside = (one.times >= first) & (one.times <= last)
    return Candles(one.symbol, *(getattr(one, name)[inside] for name in _FIELDS))
