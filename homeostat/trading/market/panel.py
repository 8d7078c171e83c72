"""Candles of one symbol, and the panel: the candles of many symbols on one grid of minutes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

#: Seconds of one bar; every reader and the generator work on one-minute candles.
BAR_S = 60


@dataclass(frozen=True)
class Candles:
    """One symbol's candles: `times` are the bars' opening moments in UTC epoch seconds.

    Bars may be missing (a gap is an absent row); rows are strictly in order of time.
    """

    symbol: str
    times: Times
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        """The number of bars."""
        return len(self.times)


@dataclass(frozen=True)
class Instrument:
    """What an exchange says of a symbol. `half_spread` is a fraction of the price."""

    symbol: str
    base: str
    quote: str = "USDT"
    contract: str = "PERPETUAL"
    status: str = "TRADING"
    age_days: float = 365.0
    half_spread: float = 0.0001
    min_notional: float = 5.0
    funding_rate: float = 0.0001


@dataclass(frozen=True)
class Panel:
    """Candles of n symbols over the same t minutes; arrays are (n, t), NaN where a bar is missing.

    The last column is the newest closed bar. `times` (t,) are opening moments in epoch seconds.
    A market lays its arrays minute after minute (Fortran's order), so that a window of minutes is
    one stretch of memory: passes over scattered rows cost twice to four times as much.
    """

    symbols: tuple[str, ...]
    times: Times
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    @property
    def places(self) -> Mapping[str, int]:
        """The row of each symbol."""
        return _places(self.symbols)

    def window(self, start: int, stop: int) -> Panel:
        """Return the columns [start, stop)."""
        cut = np.s_[:, start:stop]
        return Panel(
            self.symbols,
            self.times[start:stop],
            self.open[cut],
            self.high[cut],
            self.low[cut],
            self.close[cut],
            self.volume[cut],
        )

    def rows(self, which: NDArray[np.bool_]) -> Panel:
        """Return the symbols where `which` (n,) is true."""
        return Panel(
            tuple(name for name, wanted in zip(self.symbols, which, strict=True) if wanted),
            self.times,
            self.open[which],
            self.high[which],
            self.low[which],
            self.close[which],
            self.volume[which],
        )

    def log_returns(self) -> Floats:
        """Return the (n, t-1) log returns of the closes; NaN beside a missing bar."""
        return np.diff(np.log(self.close), axis=1)


@lru_cache(maxsize=4)
def _places(symbols: tuple[str, ...]) -> Mapping[str, int]:
    return MappingProxyType({symbol: row for row, symbol in enumerate(symbols)})


def on_grid(series: list[Candles], times: Times) -> Panel:
    """Lay candles onto the grid `times`; a minute that a symbol lacks becomes NaN."""
    shape = (len(series), len(times))
    fields = {name: np.full(shape, np.nan) for name in ("open", "high", "low", "close", "volume")}
    for row, candles in enumerate(series):
        _, on, of = np.intersect1d(times, candles.times, assume_unique=True, return_indices=True)
        for name, array in fields.items():
            array[row, on] = getattr(candles, name)[of]
    return Panel(tuple(candles.symbol for candles in series), times, **fields)
