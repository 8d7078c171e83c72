"""A market: the prices of all symbols as of a moment, whatever they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from homeostat.trading.market import injectors
from homeostat.trading.market.injectors import FaultKind, MarketFault
from homeostat.trading.market.panel import BAR_S, Instrument, Panel

#: How many bars the subsystems look back unless they say otherwise: twelve hours.
LOOKBACK = 720


@dataclass(frozen=True)
class Market:
    """Prices of all symbols. `source` names the input in words, for reports."""

    source: str
    instruments: tuple[Instrument, ...]
    #: Columns are the minutes of the strip; NaN where a symbol's own recording has no bar.
    strip: Panel
    state_dir: Path

    @cached_property
    def listed(self) -> Mapping[str, Instrument]:
        """The instruments by their symbol."""
        return {one.symbol: one for one in self.instruments}

    def panel(self, at: datetime, bars: int = LOOKBACK) -> Panel:
        """Return the `bars` newest closed bars as of `at`, with the faults that are in force.

        They are read-only: every panel without a fault looks at the same strip.
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
        # Minutes that lie side by side on the strip are looked at where they are.
        whole = first + bars <= length
        columns = slice(first, first + bars) if whole else minutes % length
        taken: dict[str, Any] = {}
        for name in ("open", "high", "low", "close", "volume"):
            taken[name] = getattr(self.strip, name)[:, columns]
            taken[name].flags.writeable = False
        return replace(self.strip, times=minutes * BAR_S, **taken)

    def inject(self, *faults: MarketFault) -> None:
        """Put these faults, and no others, into the feed of every process of the stack."""
        injectors.write_faults(self.state_dir, faults)
