"""Recorded one-minute candles of a file or a folder, and what of them cannot be believed.

A file that was named and is corrupt, truncated or out of order is refused with one sentence. In
a folder such a file is passed over, and the recording says so: half a file read in silence would
be traded on, and one bad file must not take away the others.
"""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from homeostat.errors import MarketDataError
from homeostat.trading.market.formats import LEAN_NAME, READERS, suffix_of, symbol_of
from homeostat.trading.market.panel import BAR_S, Candles, Floats

_FIELDS = ("times", "open", "high", "low", "close", "volume")
#: Epoch seconds stay below this until the year 5138, and milliseconds are above it since 1973.
_MOST_SECONDS = 1e11
#: The first second of the year 2100: what is later was misread.
_LAST_S = 4_102_444_800
#: What a reader may raise over bytes that are not what the file's name says.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    OverflowError,
    RuntimeError,
    csv.Error,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Recording:
    """The series of a file or folder, and the candle files that were passed over, with why."""

    series: list[Candles]
    passed_over: dict[str, str] = field(default_factory=dict)


def read_path(path: Path) -> Recording:
    """Return the candles of a file, or of every candle file below a folder, by symbol.

    Days of one LEAN symbol are joined; LEAN quote files are no candles. Raises MarketDataError
    where a file that was named cannot be believed, or where a folder holds none that can.
    """
    try:
        if path.is_file():
            return Recording([read_file(path)])
        if not path.is_dir():
            raise MarketDataError(f"{path} is no file and no folder; name a folder of candles.")
        return _read_folder(path)
    except OSError as error:
        raise MarketDataError(f"{path} cannot be read ({error}); name another.") from error


def _read_folder(folder: Path) -> Recording:
    parts: dict[tuple[str, Path], list[Candles]] = {}
    passed_over: dict[str, str] = {}
    for file in _candle_files(folder):
        try:
            candles = read_file(file)
        except MarketDataError as error:
            passed_over[str(file.relative_to(folder))] = str(error)
            continue
        # Only the days of one LEAN folder belong together; equal names elsewhere are other venues.
        home = file.parent if LEAN_NAME.match(file.name) else file
        parts.setdefault((candles.symbol, home), []).append(candles)
    if not parts:
        why = f"; the first says: {next(iter(passed_over.values()))}" if passed_over else "."
        raise MarketDataError(f"{folder} holds no usable candles ({', '.join(READERS)}){why}")
    named = sorted(parts.items())
    joined = [_join(found) for _, found in named]
    return Recording(_with_own_names(joined, [home for (_, home), _ in named]), passed_over)


def _candle_files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        if suffix_of(file) and not file.is_dir() and not file.name.endswith("_quote.zip"):
            yield file


def _join(days: list[Candles]) -> Candles:
    fields = {name: np.concatenate([getattr(day, name) for day in days]) for name in _FIELDS}
    return Candles(days[0].symbol, **fields)


def _with_own_names(series: list[Candles], homes: list[Path]) -> list[Candles]:
    """Tell apart equal symbols of several folders by the folder: `BTCUSD.bybit`."""
    names = [candles.symbol for candles in series]
    taken: set[str] = set()
    result = []
    for candles, home in zip(series, homes, strict=True):
        name = candles.symbol
        if names.count(name) > 1:
            # LEAN lays days out as venue/minute/symbol, and all others as folder/file.
            name = f"{name}.{home.parts[-3 if home.is_dir() and len(home.parts) > 2 else -2]}"
        while name in taken:
            name += "x"
        taken.add(name)
        result.append(replace(candles, symbol=name))
    return result


def read_file(path: Path) -> Candles:
    """Return one file's candles; raises MarketDataError with one sentence that names the file."""
    suffix = suffix_of(path)
    if not suffix:
        raise MarketDataError(f"{path.name} is no candle file (known: {', '.join(READERS)}).")
    if not path.is_file():
        raise MarketDataError(f"{path} is no regular file; name a file of candles.")
    try:
        rows = READERS[suffix](path)
    except _UNREADABLE as error:
        raise MarketDataError(
            f"{path} cannot be read ({_in_one_line(error)}); replace it with a whole file."
        ) from error
    if not len(rows):
        raise MarketDataError(f"{path} holds no candles; replace it with a whole file.")
    # A quiet symbol's LEAN day may have two rows; that they are minutes its layout says.
    fault = _fault_in(rows, sparse=bool(LEAN_NAME.match(path.name)))
    if fault:
        raise MarketDataError(f"{path} cannot be believed: {fault}; replace it with a whole file.")
    return Candles(symbol_of(path), _seconds(rows).astype(np.int64), *rows.T[1:])


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _seconds(rows: Floats) -> Floats:
    """Return the rows' times in epoch seconds, whatever part of a second they were counted in."""
    times = rows[:, 0]
    while times.max() > _MOST_SECONDS:
        times = times / 1000
    return times


def _fault_in(rows: Floats, *, sparse: bool) -> str:
    """Return what cannot be true of one-minute candles, or an empty text."""
    if not np.isfinite(rows[:, 0]).all():
        return "a time is missing or not a number" + _row(~np.isfinite(rows[:, 0]))
    times = _seconds(rows)
    steps = np.diff(times, prepend=-np.inf)
    opened, high, low, close, volume = rows.T[1:]
    prices = rows[:, 1:5]
    # Recorded files round each column by itself, so a hair of slack is left.
    slack = 1e-6 * np.abs(close)
    tests: tuple[tuple[str, Any], ...] = (
        ("a time lies outside 1970 to 2100", (times < 0) | (times > _LAST_S)),
        ("a row repeats the time of the one before", steps == 0),
        ("its rows are not in order of time, oldest first", steps < 0),
        ("a price is missing or not a number", ~np.isfinite(prices).all(axis=1)),
        ("a price is not above zero", (prices <= 0).any(axis=1)),
        ("a low is above its high", low > high),
        ("a close lies outside its bar", (close > high + slack) | (close < low - slack)),
        ("an open lies outside its bar", (opened > high + slack) | (opened < low - slack)),
        ("a volume is below zero or missing", ~(np.isfinite(volume) & (volume >= 0))),
    )
    for fault, broken in tests:
        if broken.any():
            return fault + _row(broken)
    closest = float(steps[1:].min(initial=np.inf))
    if closest < BAR_S or (len(rows) > 1 and closest > BAR_S and not sparse):
        return f"its bars are {closest:g} s apart at the closest, not a minute"
    return ""


def _row(broken: Any) -> str:
    return f" (row {int(np.argmax(broken)) + 1})"
