"""Faults of a market feed, put into a panel: crash, gap, delisting, flatline, stall.

Chaos scenarios write them to `market-faults.json` in the state folder, where the market reads
them: the subsystems then see the fault as they would see a real feed's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from homeostat.errors import MarketDataError
from homeostat.trading.market.panel import BAR_S, Floats, Panel, Times

FAULTS_FILE = "market-faults.json"


class FaultKind(StrEnum):
    """What can go wrong with a feed."""

    CRASH = "crash"
    GAP = "gap"
    DELISTING = "delisting"
    FLATLINE = "flatline"
    STALL = "stall"


class MarketFault(BaseModel):
    """One fault from `since` (epoch seconds) on. No symbols: all of them.

    `bars` is how long a gap or a flatline lasts; `depth` is the share of the price lost in a
    crash. A stall stops the clock of the whole feed: nothing newer than `since` arrives.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: FaultKind
    since: int
    symbols: tuple[str, ...] = ()
    bars: int = Field(30, ge=1)
    depth: float = Field(0.2, gt=0, lt=1)


_FAULTS = TypeAdapter(tuple[MarketFault, ...])


def write_faults(state_dir: Path, faults: tuple[MarketFault, ...]) -> None:
    """Put these faults, and no others, into the feed of the stack on that state folder."""
    path = state_dir / FAULTS_FILE
    if not faults:
        path.unlink(missing_ok=True)
        return
    aside = path.with_suffix(".new")
    aside.write_bytes(_FAULTS.dump_json(faults))
    aside.replace(path)


def read_faults(state_dir: Path) -> tuple[MarketFault, ...]:
    """Return the faults in force; raises MarketDataError where the file is malformed."""
    try:
        return _FAULTS.validate_json((state_dir / FAULTS_FILE).read_bytes())
    except FileNotFoundError:
        return ()
    except (ValidationError, json.JSONDecodeError) as error:
        raise MarketDataError(
            f"{state_dir / FAULTS_FILE} is malformed ({error}); remove it."
        ) from error


@dataclass
class _Prices:
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def all(self) -> tuple[Floats, ...]:
        return (self.open, self.high, self.low, self.close)


def inject(panel: Panel, fault: MarketFault) -> Panel:
    """Return a copy of the panel with the fault in it; a stall is the market's own affair."""
    named = np.isin(panel.symbols, fault.symbols or panel.symbols)
    on_rows = np.flatnonzero(named).astype(np.int64)
    first = int(np.searchsorted(panel.times, fault.since - fault.since % BAR_S))
    prices = _Prices(*(getattr(panel, name).copy() for name in _Prices.__dataclass_fields__))
    if first < len(panel.times) and len(on_rows):
        _APPLY.get(fault.kind, _nothing)(prices, on_rows, first, fault)
    return replace(panel, **vars(prices))


def _nothing(prices: _Prices, rows: Times, first: int, fault: MarketFault) -> None:
    del prices, rows, first, fault


def _crash(prices: _Prices, rows: Times, first: int, fault: MarketFault) -> None:
    left = 1 - fault.depth
    prices.low[rows, first] *= left
    prices.close[rows, first] *= left
    for array in prices.all():
        array[rows, first + 1 :] *= left
    prices.volume[rows, first] *= 20


def _gap(prices: _Prices, rows: Times, first: int, fault: MarketFault) -> None:
    for array in (*prices.all(), prices.volume):
        array[rows, first : first + fault.bars] = np.nan


def _delisting(prices: _Prices, rows: Times, first: int, fault: MarketFault) -> None:
    del fault
    for array in (*prices.all(), prices.volume):
        array[rows, first:] = np.nan


def _flatline(prices: _Prices, rows: Times, first: int, fault: MarketFault) -> None:
    last = prices.open[rows, first][:, None]
    for array in prices.all():
        array[rows, first : first + fault.bars] = last
    prices.volume[rows, first : first + fault.bars] = 0.0


_APPLY = {
    FaultKind.CRASH: _crash,
    FaultKind.GAP: _gap,
    FaultKind.DELISTING: _delisting,
    FaultKind.FLATLINE: _flatline,
}
