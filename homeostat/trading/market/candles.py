"""Readers of recorded one-minute candles: CSV, LEAN zips, JSON lists, freqtrade feather.

A file that is corrupt, truncated or out of order is refused with one sentence that names it:
half a file read in silence would be traded on.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from homeostat.clock import from_iso
from homeostat.errors import MarketDataError
from homeostat.trading.market.panel import Candles, Floats

HEADER = ["timestamp", "open", "high", "low", "close", "volume"]
SUFFIXES = (".csv", ".zip", ".json", ".feather")
_LEAN_NAME = re.compile(r"^(\d{8})_trade\.zip$")


def read_path(path: Path) -> list[Candles]:
    """Return the candles of a file, or of every candle file below a folder, by symbol.

    Days of one LEAN symbol are joined; LEAN quote files are passed over. Raises MarketDataError
    where a file cannot be believed, or where there is none.
    """
    if path.is_file():
        return [read_file(path)]
    if not path.is_dir():
        raise MarketDataError(f"{path} is no file and no folder; name a folder of candles.")
    groups: dict[tuple[str, str], list[Candles]] = {}
    for file in _candle_files(path):
        candles = read_file(file)
        # Only the days of one LEAN folder belong together; equal names elsewhere are other venues.
        home = str(file.parent if _LEAN_NAME.match(file.name) else file)
        groups.setdefault((candles.symbol, home), []).append(candles)
    if not groups:
        raise MarketDataError(
            f"{path} holds no candle files ({', '.join(SUFFIXES)}); name a folder that does."
        )
    joined = [_join(parts, Path(home)) for (_, home), parts in sorted(groups.items())]
    return _with_own_names(joined, [Path(home) for _, home in sorted(groups)])


def _candle_files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        if file.suffix in SUFFIXES and not file.name.endswith("_quote.zip"):
            yield file


def _join(parts: list[Candles], home: Path) -> Candles:
    fields = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("times", "open", "high", "low", "close", "volume")
    }
    return _checked(Candles(parts[0].symbol, **fields), home)


def _with_own_names(series: list[Candles], homes: list[Path]) -> list[Candles]:
    """Tell apart equal symbols of several venues by the venue's folder: `BTCUSD.bybit`."""
    names = [candles.symbol for candles in series]
    taken: set[str] = set()
    result = []
    for candles, home in zip(series, homes, strict=True):
        name = candles.symbol
        if names.count(name) > 1:
            name = f"{name}.{home.parts[-3] if len(home.parts) > 2 else home.stem}"
        while name in taken:
            name += "x"
        taken.add(name)
        result.append(Candles(name, *(getattr(candles, field) for field in _FIELDS)))
    return result


_FIELDS = ("times", "open", "high", "low", "close", "volume")


def read_file(path: Path) -> Candles:
    """Return one file's candles; raises MarketDataError with one sentence that names the file."""
    readers = {".csv": _read_csv, ".zip": _read_lean, ".json": _read_json, ".feather": _feather}
    reader = readers.get(path.suffix)
    if reader is None:
        raise MarketDataError(f"{path.name} is no candle file (known: {', '.join(SUFFIXES)}).")
    try:
        symbol, rows = reader(path)
    except MarketDataError:
        raise
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, csv.Error, KeyError) as error:
        raise MarketDataError(
            f"{path} cannot be read ({error}); replace it with a whole file."
        ) from error
    if not len(rows):
        raise MarketDataError(f"{path} holds no candles; replace it with a whole file.")
    times = rows[:, 0].astype(np.int64)
    return _checked(Candles(symbol, times, *(rows[:, i] for i in range(1, 6))), path)


def _read_csv(path: Path) -> tuple[str, Floats]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        header = next(reader, None)
        if header != HEADER:
            raise ValueError(f"its header is {header}, not {','.join(HEADER)}")
        rows = [
            (_seconds(row[0]), *map(float, row[1:]))
            for number, row in enumerate(reader, 2)
            if _six(row, number)
        ]
    return _symbol_of(path.stem), np.array(rows, dtype=np.float64)


def _six(row: list[str], number: int) -> bool:
    if len(row) != len(HEADER):
        raise ValueError(f"line {number} has {len(row)} fields, not {len(HEADER)}")
    return True


def _seconds(text: str) -> float:
    """Return epoch seconds of an ISO timestamp, or of epoch seconds or milliseconds."""
    if text.isdigit():
        return int(text) / (1000 if len(text) > 11 else 1)
    return from_iso(text).timestamp()


def _symbol_of(stem: str) -> str:
    """`btc-perp-2021…_1m` → BTC-PERP; `BTC_USDT-1m-futures` → BTC_USDT."""
    return re.split(r"[-_](?=\d)", stem)[0].upper()


def _read_lean(path: Path) -> tuple[str, Floats]:
    named = _LEAN_NAME.match(path.name)
    if not named:
        raise ValueError("its name is not <yyyymmdd>_trade.zip")
    midnight = datetime.strptime(named[1], "%Y%m%d").replace(tzinfo=UTC).timestamp()
    with zipfile.ZipFile(path) as archive:
        inside = archive.namelist()
        if len(inside) != 1:
            raise ValueError(f"it holds {len(inside)} files, not one")
        text = archive.read(inside[0]).decode("ascii")
    rows = [
        (midnight + int(row[0]) / 1000, *map(float, row[1:]))
        for number, row in enumerate(csv.reader(io.StringIO(text)), 1)
        if _six(row, number)
    ]
    return path.parent.name.upper(), np.array(rows, dtype=np.float64)


def _read_json(path: Path) -> tuple[str, Floats]:
    text = path.read_text(encoding="utf-8")
    try:
        data = json.loads(text)
    except json.JSONDecodeError:
        # One list per line is as common as one list of lists.
        data = [json.loads(line) for line in text.splitlines() if line.strip()]
    return _symbol_of(path.stem), _from_lists(data)


def _from_lists(data: Any) -> Floats:
    if not isinstance(data, list) or not all(isinstance(row, list) for row in data):
        raise ValueError("it is not a list of [ms, open, high, low, close, volume]")
    for number, row in enumerate(data, 1):
        if len(row) != len(HEADER) or any(not isinstance(cell, int | float) for cell in row):
            raise ValueError(f"row {number} is not six numbers")
    rows = np.array(data, dtype=np.float64).reshape(len(data), len(HEADER))
    rows[:, 0] //= 1000
    return rows


def _feather(path: Path) -> tuple[str, Floats]:
    try:
        feather = importlib.import_module("pyarrow.feather")
    except ImportError:
        raise MarketDataError(
            f"{path.name} is a feather file, which needs pyarrow: install homeostat[feather]."
        ) from None
    table = feather.read_table(path)
    dates = table.column("date").cast("timestamp[ms]").cast("int64").to_numpy() // 1000
    columns: Iterable[Any] = (table.column(name).to_numpy() for name in HEADER[1:])
    return _symbol_of(path.stem), np.column_stack([dates, *columns]).astype(np.float64)


def _checked(candles: Candles, path: Path) -> Candles:
    """Return the candles if they can be true; raises MarketDataError naming the first fault."""
    fault = _fault_in(candles)
    if fault:
        raise MarketDataError(f"{path} cannot be believed: {fault}; replace it with a whole file.")
    return candles


def _fault_in(candles: Candles) -> str:
    prices = np.stack([candles.open, candles.high, candles.low, candles.close])
    tests = (
        ("its rows are not in order of time", np.diff(candles.times, prepend=-1) <= 0),
        ("a price is missing or not a number", ~np.isfinite(prices).all(axis=0)),
        ("a price is not above zero", (prices <= 0).any(axis=0)),
        ("a low is above its high", candles.low > candles.high),
        ("a close lies outside its bar", _outside(candles)),
        ("a volume is below zero or missing", ~(candles.volume >= 0)),
    )
    for fault, broken in tests:
        if broken.any():
            return f"{fault} (row {int(np.argmax(broken)) + 1})"
    return ""


def _outside(candles: Candles) -> Any:
    # Recorded files round each column by itself, so a hair of slack is left.
    slack = candles.close * 1e-6
    return (candles.close > candles.high + slack) | (candles.close < candles.low - slack)
