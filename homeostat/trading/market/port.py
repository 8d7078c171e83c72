"""The market that the subsystems read: recorded files replayed, the generator, or a live feed.

Either of the first two is a strip of minutes laid end to end over time, so that every process
sees the same bar at the same minute and no state is shared. The bars carry the time of the replay;
the report says which input it was.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np

from homeostat.settings import Settings
from homeostat.trading.market import candles, generator, live, strip
from homeostat.trading.market.panel import BAR_S, Candles, Instrument, Panel, on_grid
from homeostat.trading.market.source import LOOKBACK, Market

__all__ = ["FRESH_S", "LOOKBACK", "Market", "age_s", "market", "moment_of", "recorded"]

#: The newest closed bar opened at most this long ago in a live feed: two bars and a half.
FRESH_S = 150.0


def age_s(panel: Panel, at: datetime) -> float:
    """Return how many seconds ago the panel's newest bar closed."""
    return at.timestamp() - float(panel.times[-1]) - BAR_S


def moment_of(seconds: int) -> datetime:
    """Return the moment of epoch seconds."""
    return datetime.fromtimestamp(seconds, tz=UTC)


def market(settings: Settings) -> Market:
    """Return the market of the settings, made once per process and input."""
    if settings.market_live:
        return live.market(settings)
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
    recording = candles.read_path(data)
    series = recording.series
    grids = [_minutes(one) for one in series]
    length = max(len(grid.times) for grid in grids)
    columns = {
        name: np.asfortranarray(
            np.concatenate(
                [getattr(grid, name)[:, np.arange(length) % len(grid.times)] for grid in grids]
            )
        )
        for name in ("open", "high", "low", "close", "volume")
    }
    symbols = tuple(one.symbol for one in series)
    listed = tuple(Instrument(symbol, base=symbol) for symbol in symbols)
    times = BAR_S * np.arange(length, dtype=np.int64)
    source = f"recorded: {len(symbols)} series from {data}, replayed"
    if recording.passed_over:
        source += f"; {len(recording.passed_over)} files passed over"
    return Market(source, listed, Panel(symbols, times, **columns), state_dir)


def _minutes(one: Candles) -> Panel:
    """Lay one series on its own grid of minutes; long silences (over a day) are closed up."""
    steps = np.diff(one.times)
    jumps = np.where(steps > 86_400, steps - BAR_S, 0)
    times = one.times - np.concatenate([[0], np.cumsum(jumps)])
    grid = np.arange(times[0], times[-1] + BAR_S, BAR_S, dtype=np.int64)
    return on_grid([replace(one, times=times)], grid)
