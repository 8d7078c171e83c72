"""The forms in which recorded candles come: CSV, LEAN trade zips, JSON lists, freqtrade feather.

A reader takes a path and returns (n, 6) rows: time, open, high, low, close, volume, as they stand
in the file; times are epoch seconds, or milliseconds and finer where the file has them so.
"""

from __future__ import annotations

import csv
import gzip
import importlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from homeostat.clock import from_iso
from homeostat.errors import MarketDataError
from homeostat.trading.market.panel import Floats

HEADER = ("timestamp", "open", "high", "low", "close", "volume")
LEAN_NAME = re.compile(r"^(\d{8})_trade\.zip$")
DAY_MS = 86_400_000
_ROW = np.dtype((np.float64, len(HEADER)))


def suffix_of(path: Path) -> str:
    """Return the known suffix that the file's name ends with, or an empty text."""
    name = path.name.lower()
    return next((suffix for suffix in READERS if name.endswith(suffix)), "")


def symbol_of(path: Path) -> str:
    """`btc-perp-2021…_1m.csv` → BTC-PERP; `BTC_USDT-1m.json` → BTC_USDT; of LEAN, the folder."""
    if LEAN_NAME.match(path.name):
        return path.parent.name.upper()
    stem = path.name[: len(path.name) - len(suffix_of(path))]
    return re.split(r"[-_](?=\d)", stem)[0].upper()


def _open(path: Path) -> IO[str]:
    """Open text, packed or not; a byte order mark is none of it."""
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _read_csv(path: Path) -> Floats:
    with _open(path) as file:
        lines = csv.reader(file)
        header = next(lines, [])
        if tuple(cell.strip().lower() for cell in header) != HEADER:
            raise ValueError(f"its header is {','.join(header)!r}, not {','.join(HEADER)}")
        return _array(_rows(lines, _moment))


def _moment(text: str) -> float:
    """Return a number as it is, and an ISO timestamp as epoch seconds."""
    try:
        return float(text)
    except ValueError:
        return from_iso(text.strip()).timestamp()


def _rows(lines: Any, moment: Callable[[str], float]) -> Iterator[tuple[float, ...]]:
    """Yield each line of a `csv.reader` as six numbers; empty lines are passed over."""
    for cells in lines:
        if not cells:
            continue
        if len(cells) != len(HEADER):
            raise ValueError(f"line {lines.line_num} has {len(cells)} fields, not {len(HEADER)}")
        try:
            yield (moment(cells[0]), *map(float, cells[1:]))
        except ValueError as error:
            raise ValueError(f"line {lines.line_num}: {error}") from None


def _array(rows: Iterator[tuple[float, ...]]) -> Floats:
    # Filled as it is read: a million rows as tuples would take seven times the memory.
    return cast("Floats", np.fromiter(rows, _ROW))


def _read_lean(path: Path) -> Floats:
    named = LEAN_NAME.match(path.name)
    if not named:
        raise ValueError("its name is not <yyyymmdd>_trade.zip, LEAN's for one day of minutes")
    midnight = datetime.strptime(named[1], "%Y%m%d").replace(tzinfo=UTC).timestamp()
    with zipfile.ZipFile(path) as archive:
        inside = archive.namelist()
        if len(inside) != 1:
            raise ValueError(f"it holds {len(inside)} files, not one")
        text = archive.read(inside[0]).decode("ascii")
    rows = _array(_rows(csv.reader(io.StringIO(text)), float))
    if not ((rows[:, 0] >= 0) & (rows[:, 0] < DAY_MS)).all():
        raise ValueError("a time is no millisecond of its day")
    rows[:, 0] = midnight + rows[:, 0] / 1000
    return rows


def _read_json(path: Path) -> Floats:
    with _open(path) as file:
        text = file.read()
    try:
        data = json.loads(text)
    except json.JSONDecodeError:
        # One list per line is as common as one list of lists.
        data = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not isinstance(data, list) or not all(isinstance(row, list) for row in data):
        raise ValueError("it is not a list of [ms, open, high, low, close, volume]")
    for number, row in enumerate(data, 1):
        if len(row) != len(HEADER) or any(not isinstance(cell, int | float) for cell in row):
            raise ValueError(f"row {number} is not six numbers")
    return np.array(data, dtype=np.float64).reshape(len(data), len(HEADER))


def _read_feather(path: Path) -> Floats:
    try:
        feather = importlib.import_module("pyarrow.feather")
    except ImportError:
        raise MarketDataError(
            f"{path.name} is a feather file, which needs pyarrow: install homeostat[feather]."
        ) from None
    table = feather.read_table(path)
    dates = table.column("date").cast("timestamp[ms]").cast("int64").to_numpy()
    columns = (table.column(name).to_numpy() for name in HEADER[1:])
    return np.column_stack([dates, *columns]).astype(np.float64)


#: Each known suffix, and what reads a file of it.
READERS: dict[str, Callable[[Path], Floats]] = {
    ".csv": _read_csv,
    ".csv.gz": _read_csv,
    ".json": _read_json,
    ".json.gz": _read_json,
    ".zip": _read_lean,
    ".feather": _read_feather,
}
