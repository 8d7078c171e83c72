"""What becomes of barriers on recorded bars: how often the target, the stop or neither is touched.

No model has a say: both sides are entered at every fifth bar, so the table is about the barriers
alone. Within one bar the stop is taken to be touched first, as the paper venue does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import JsonValue

from homeostat.errors import MarketDataError
from homeostat.trading.dynamic_tpsl import (
    HORIZON_BARS,
    BarrierArrays,
    Policy,
    expected_volatility,
    tiered_arrays,
    volatility_scaled_arrays,
)
from homeostat.trading.market import candles
from homeostat.trading.market.panel import BAR_S, Candles, Floats, Panel

#: Bars that the volatility is read from, and bars from one entry to the next.
BEFORE, EVERY = 122, 5


@dataclass(frozen=True)
class Touched:
    """Shares of all entries of one policy; barriers are medians as fractions of the price."""

    policy: str
    confidence: float
    series: int
    entries: int
    take_profit: float
    stop_loss: float
    hit_take_profit: float
    hit_stop_loss: float
    neither: float
    #: Candle files that could not be read; `trade backtest` says why.
    passed_over: int

    def as_json(self) -> dict[str, JsonValue]:
        """Return the row for the command line."""
        return asdict(self)


def touched(data: Path, confidence: float = 0.75) -> list[Touched]:
    """Return one row for each policy over every series below `data`.

    Raises MarketDataError where no series has 182 bars without a gap.
    """
    recording = candles.read_path(data)
    found = []
    for policy in Policy:
        parts = [part for one in recording.series for part in _of_series(one, policy, confidence)]
        if not parts:
            raise MarketDataError(
                f"{data} holds no stretch of {BEFORE + HORIZON_BARS} bars; name a longer recording."
            )
        rows = np.concatenate(parts, axis=1)
        found.append(
            Touched(
                policy.value,
                confidence,
                len(parts) // 2,
                rows.shape[1],
                float(np.median(rows[0])),
                float(np.median(rows[1])),
                float((rows[2] == 1).mean()),
                float((rows[2] == -1).mean()),
                float((rows[2] == 0).mean()),
                len(recording.passed_over),
            )
        )
    return found


def _of_series(one: Candles, policy: Policy, confidence: float) -> Iterator[Floats]:
    """Yield (3, n): take-profit, stop-loss, and which was touched first (1, -1, or 0)."""
    starts = np.arange(BEFORE, len(one) - HORIZON_BARS, EVERY)
    whole = one.times[starts + HORIZON_BARS - 1] - one.times[starts - BEFORE]
    starts = starts[whole == (BEFORE + HORIZON_BARS - 1) * BAR_S]
    if not len(starts):
        return
    volatility = expected_volatility(_windows(one, starts))
    barriers = _barriers(policy, np.full(len(starts), confidence), volatility)
    high = sliding_window_view(one.high, HORIZON_BARS)[starts] / one.open[starts, None] - 1
    low = sliding_window_view(one.low, HORIZON_BARS)[starts] / one.open[starts, None] - 1
    for toward, against in ((high, -low), (-low, high)):
        take = _first(toward >= barriers.take_profit[:, None])
        stop = _first(against >= barriers.stop_loss[:, None])
        never = (take > HORIZON_BARS) & (stop > HORIZON_BARS)
        which = np.where(never, 0.0, np.where(take < stop, 1.0, -1.0))
        yield np.stack([barriers.take_profit, barriers.stop_loss, which])


def _windows(one: Candles, starts: NDArray[np.int64]) -> Panel:
    """Return the bars before each start as a panel whose rows are the starts."""
    columns = {
        name: sliding_window_view(getattr(one, name), BEFORE)[starts - BEFORE]
        for name in ("open", "high", "low", "close", "volume")
    }
    names = tuple(str(start) for start in starts.tolist())
    return Panel(names, np.arange(BEFORE, dtype=np.int64) * BAR_S, **columns)


def _barriers(policy: Policy, confidence: Floats, volatility: Floats) -> BarrierArrays:
    if policy is Policy.TIERED:
        # The seed's table knows the volatility of a bar, not of the horizon.
        return tiered_arrays(confidence)
    return volatility_scaled_arrays(confidence, volatility)


def _first(hit: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the first column that is hit in each row, past the last one where none is."""
    return np.where(hit.any(axis=1), hit.argmax(axis=1), HORIZON_BARS + 1)
