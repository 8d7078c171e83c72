"""Recorded one-minute candles of a file or a folder, and what of them cannot be believed.

A file that was named and is corrupt, truncated or out of order is refused with one sentence. In
a folder such a file is passed over, and the recording says so: half a file read in silence would
be traded on, and one bad file must not take away the others.
"""

from __future__ import annotations

import csv
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from homeostat.errors import MarketDataError
from homeostat.trading.market.formats import LEAN_NAME, READERS, suffix_of, symbol_of
from homeostat.trading.market.joining import joined
from homeostat.trading.market.panel import BAR_S, Candles, Floats

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

    path: Path
    series: list[Candles]
    passed_over: dict[str, str] = field(default_factory=dict)


def read_path(path: Path) -> Recording:
    """Return the candles of a file, or of every candle file below a folder, by symbol.

    Files of one symbol and folder that follow one another are joined; LEAN quote files are no
    candles. Raises MarketDataError where a file that was named cannot be believed, or where a
    folder holds none that can.
    """
    try:
        if path.is_file():
            return Recording(path, [read_file(path)])
        if not path.is_dir():
            raise MarketDataError(f"{path} is no file and no folder; name a folder of candles.")
        return _read_folder(path)
    except OSError as error:
        raise MarketDataError(f"{path} cannot be read ({error}); name another.") from error


def _read_folder(folder: Path) -> Recording:
    files: list[tuple[Path, Candles]] = []
    passed_over: dict[Path, str] = {}
    for file in sorted(_candle_files(folder, passed_over)):
        try:
            files.append((file, read_file(file)))
        except MarketDataError as error:
            passed_over[file] = str(error)
    if not files:
        why = f"; the first says: {next(iter(passed_over.values()))}" if passed_over else "."
        raise MarketDataError(f"{folder} holds no usable candles ({', '.join(READERS)}){why}")
    parts, repeated = joined(files)
    parts.sort(key=lambda one: (one.candles.symbol, _home(one.file)))
    series = [one.candles for one in parts]
    told = {str(one.relative_to(folder)): why for one, why in (passed_over | repeated).items()}
    return Recording(folder, _with_own_names(series, [_home(one.file) for one in parts]), told)


def _home(file: Path) -> Path:
    """Return the folder of LEAN's days, and the file itself of all others."""
    return file.parent if LEAN_NAME.match(file.name) else file


def _candle_files(folder: Path, passed_over: dict[Path, str]) -> Iterator[Path]:
    """Yield all candle files below a folder, through links too, but into no folder twice."""

    def note(error: OSError) -> None:
        passed_over[Path(error.filename)] = f"{error.filename} cannot be read ({error.strerror})."

    seen: set[str] = set()
    for home, folders, names in os.walk(folder, onerror=note, followlinks=True):
        real = str(Path(home).resolve())
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        for file in (Path(home, name) for name in names):
            if suffix_of(file) and not file.name.endswith("_quote.zip"):
                yield file


def _with_own_names(series: list[Candles], homes: list[Path]) -> list[Candles]:
    """Tell apart equal symbols of several folders by the folder: `BTCUSD.bybit`."""
    names = [candles.symbol for candles in series]
    taken: set[str] = set()
    result = []
    for candles, found in zip(series, homes, strict=True):
        name, home = candles.symbol, found.absolute()
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
