"""The market that the subsystems read: recorded files replayed, or the generator, at a moment.

Either source is a strip of minutes laid end to end over time, so that every process sees the
same bar at the same minute and no state is shared. The bars carry the time of the replay; the
report says which input it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from homeostat.settings import Settings
from homeostat.trading.market import candles, generator, injectors, strip
from homeostat.trading.market.injectors import FaultKind, MarketFault
from homeostat.trading.market.panel import BAR_S, Candles, Instrument, Panel, on_grid

#: How many bars the subsystems look back unless they say otherwise: twelve hours.
LOOKBACK = 720
#: The newest closed bar opened at most this long ago in a live feed: two bars and a half.
FRESH_S = 150.0


@dataclass(frozen=True)
class Market:
    """Prices of all symbols. `source` names the input in words, for reports."""

    source: str
    instruments: tuple[Instrument, ...]
    #: Columns are the minutes of the strip; NaN where a symbol's own recording has no bar.
    strip: Panel
    state_dir: Path

    def panel(self, at: datetime, bars: int = LOOKBACK) -> Panel:
        """Return the `bars` newest closed bars as of `at`, with the faults that are in force.

        Raises MarketDataError where the list of faults is malformed.
        """
        faults = injectors.read_faults(self.state_dir)
        last = int(at.timestamp()) // BAR_S - 1
        for fault in faults:
            if fault.kind is FaultKind.STALL:
                last = min(last, fault.since // BAR_S - 1)
        found = self._strip_until(last, bars)
        for fault in faults:
            found = injectors.inject(found, fault)
        return found

    def _strip_until(self, last: int, bars: int) -> Panel:
        minutes = np.arange(last - bars + 1, last + 1, dtype=np.int64)
        length = len(self.strip.times)
        first = int(minutes[0]) % length
        # Minutes that lie side by side on the strip are copied whole, one by one they cost
        # four times as much.
        whole = first + bars <= length
        columns = slice(first, first + bars) if whole else minutes % length
        taken: dict[str, Any] = {
            name: np.array(getattr(self.strip, name)[:, columns])
            for name in ("open", "high", "low", "close", "volume")
        }
        return replace(self.strip, times=minutes * BAR_S, **taken)

    def inject(self, *faults: MarketFault) -> None:
        """Put these faults, and no others, into the feed of every process of the stack."""
        injectors.write_faults(self.state_dir, faults)


def age_s(panel: Panel, at: datetime) -> float:
    """Return how many seconds ago the panel's newest bar closed."""
    return at.timestamp() - float(panel.times[-1]) - BAR_S


def moment_of(seconds: int) -> datetime:
    """Return the moment of epoch seconds."""
    return datetime.fromtimestamp(seconds, tz=UTC)


def market(settings: Settings) -> Market:
    """Return the market of the settings, made once per process and input."""
    return _market(settings.market_data, settings.market_seed, settings.state_dir)


@lru_cache(maxsize=2)
def _market(data: Path | None, seed: int, state_dir: Path) -> Market:
    if data is not None:
        return recorded(data, state_dir)
    return Market(
        source=f"generated: {generator.SYMBOLS} symbols, seed {seed}",
        instruments=tuple(generator.instruments(seed)),
        strip=strip.generated(seed, state_dir),
        state_dir=state_dir,
    )


def recorded(data: Path, state_dir: Path) -> Market:
    """Return a market that replays the candles of a file or folder; raises MarketDataError.

    Each series begins at the strip's first column, whatever day it was recorded on; one that is
    shorter than the longest is repeated.
    """
    series = candles.read_path(data)
    grids = [_minutes(one) for one in series]
    length = max(len(grid.times) for grid in grids)
    columns = {
        name: np.concatenate(
            [getattr(grid, name)[:, np.arange(length) % len(grid.times)] for grid in grids]
        )
        for name in ("open", "high", "low", "close", "volume")
    }
    symbols = tuple(one.symbol for one in series)
    listed = tuple(Instrument(symbol, base=symbol) for symbol in symbols)
    times = BAR_S * np.arange(length, dtype=np.int64)
    source = f"recorded: {len(symbols)} series from {data}, replayed"
    return Market(source, listed, Panel(symbols, times, **columns), state_dir)


def _minutes(one: Candles) -> Panel:
    """Lay one series on its own grid of minutes; long silences (over a day) are closed up."""
    steps = np.diff(one.times)
    jumps = np.where(steps > 86_400, steps - BAR_S, 0)
    times = one.times - np.concatenate([[0], np.cumsum(jumps)])
    grid = np.arange(times[0], times[-1] + BAR_S, BAR_S, dtype=np.int64)
    return on_grid([replace(one, times=times)], grid)
