"""Recorded series laid side by side on one clock, in stretches without a long silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from homeostat.trading.market.panel import BAR_S, Candles, Panel, on_grid

#: After an hour in which no series has a bar, another stretch begins.
SILENCE_S = 3_600
#: A series that is silent for longer has ended: four days are a long weekend.
ENDED_S = 4 * 86_400
_FIELDS = ("times", "open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class Span:
    """A stretch of time in which some series has a bar: opening epoch seconds, both inclusive."""

    first: int
    last: int

    @property
    def minutes(self) -> int:
        """How many minutes it has, with bars or without."""
        return (self.last - self.first) // BAR_S + 1


class Stretches:
    """All series on whole minutes, and the spans of time in which there is anything to see.

    What was recorded at the same time is traded at the same time, out of one book.
    """

    def __init__(self, series: Sequence[Candles]) -> None:
        self._series = [replace(one, times=one.times // BAR_S * BAR_S) for one in series]
        self._times = {one.symbol: one.times for one in self._series}
        clock = np.unique(np.concatenate([one.times for one in self._series]))
        cuts = np.flatnonzero(np.diff(clock) > SILENCE_S)
        firsts, lasts = clock[[0, *(cuts + 1)]].tolist(), clock[[*cuts, -1]].tolist()
        self.spans = [Span(*ends) for ends in zip(firsts, lasts, strict=True)]

    def panel(self, span: Span) -> Panel:
        """Return the series that have bars within the span, on each of its minutes."""
        present = [_between(one, span) for one in self._series]
        grid = np.arange(span.first, span.last + BAR_S, BAR_S, dtype=np.int64)
        return on_grid([one for one in present if len(one)], grid)

    def goes_on(self, symbol: str, after: int) -> bool:
        """Return whether the symbol has another bar, no later than `ENDED_S` after that moment."""
        times = self._times[symbol]
        place = int(np.searchsorted(times, after, side="right"))
        return place < len(times) and int(times[place]) - after <= ENDED_S


def _between(one: Candles, span: Span) -> Candles:
    start = int(np.searchsorted(one.times, span.first))
    stop = int(np.searchsorted(one.times, span.last, side="right"))
    return Candles(one.symbol, *(getattr(one, name)[start:stop] for name in _FIELDS))
