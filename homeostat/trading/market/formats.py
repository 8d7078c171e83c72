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
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import IO, Any, cast
from zoneinfo import ZoneInfo

import numpy as np

from homeostat.clock import from_iso
from homeostat.errors import MarketDataError
from homeostat.trading.market.panel import Floats

HEADER = ("timestamp", "open", "high", "low", "close", "volume")
LEAN_NAME = re.compile(r"^(\d{8})_trade\.zip$")
DAY_MS = 86_400_000
#: LEAN's kinds of securities whose prices are whole numbers of ten-thousandths.
_SCALED = frozenset({"equity", "option"})
_ROW = np.dtype((np.float64, len(HEADER)))
_NO_LISTS = "it is not a list of [ms, open, high, low, close, volume]"
_LIST_OF_LISTS, _COMMA = re.compile(r"\[\s*(?=\[)"), re.compile(r"\s*,\s*")
#: Characters of JSON that are parsed at once.
_PIECE = 200_000


def suffix_of(path: Path) -> str:
    """Return the known suffix that the file's name ends with, or an empty text."""
    name = path.name.lower()
    return next((suffix for suffix in READERS if name.endswith(suffix)), "")


def symbol_of(path: Path) -> str:
    """`btc-perp-2021…_1m.csv` → BTC-PERP; `BTC_USDT-1m.json` → BTC_USDT; of LEAN, the folder.

    A name without a letter is a date, and the folder has the symbol's.
    """
    stem = path.name[: len(path.name) - len(suffix_of(path))]
    symbol = re.split(r"[-_](?=\d)", stem)[0]
    if LEAN_NAME.match(path.name) or not re.search(r"[^\W\d_]", symbol):
        symbol = path.absolute().parent.name
    return symbol.upper()


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
    zone, scale = _lean_layout(path)
    midnight = datetime.strptime(named[1], "%Y%m%d").replace(tzinfo=zone).timestamp()
    with zipfile.ZipFile(path) as archive:
        inside = archive.namelist()
        if len(inside) != 1:
            raise ValueError(f"it holds {len(inside)} files, not one")
        text = archive.read(inside[0]).decode("ascii")
    rows = _array(_rows(csv.reader(io.StringIO(text)), float))
    if not ((rows[:, 0] >= 0) & (rows[:, 0] < DAY_MS)).all():
        raise ValueError("a time is no millisecond of its day")
    rows[:, 0] = midnight + rows[:, 0] / 1000
    rows[:, 1:5] *= scale
    return rows


def _lean_layout(path: Path) -> tuple[tzinfo, float]:
    """Return by which clock LEAN kept the day, and what its prices have to be multiplied by.

    Of kind/market/minute/symbol, crypto and all that is not listed here has UTC and plain prices.
    Equities are kept by their exchange's clock, in ten-thousandths of a dollar.
    """
    kind, market = ("", "", "", *path.absolute().parts)[-5:-3]
    if kind.lower() not in _SCALED:
        return UTC, 1.0
    if market.lower() != "usa":
        raise ValueError(f"the clock of LEAN's {kind}/{market} is not known, only that of usa")
    return ZoneInfo("America/New_York"), 1e-4


def _read_json(path: Path) -> Floats:
    with _open(path) as file:
        text = file.read().strip()
    return _array(_six_numbers(_json_rows(text)))


def _six_numbers(rows: Iterator[Any]) -> Iterator[tuple[float, ...]]:
    for number, row in enumerate(rows, 1):
        if not isinstance(row, list):
            raise ValueError(_NO_LISTS)  # noqa: TRY004  # what is wrong is the file
        if len(row) != len(HEADER) or any(not isinstance(cell, int | float) for cell in row):
            raise ValueError(f"row {number} is not six numbers")
        yield tuple(row)


def _json_rows(text: str) -> Iterator[Any]:
    """Yield the rows of one list of lists, or of one list a line."""
    if (opening := _LIST_OF_LISTS.match(text)) and text.endswith("]"):
        yield from _by_pieces(text, opening.end(), len(text) - 1)
        return
    try:
        data = json.loads(text)
    except json.JSONDecodeError:
        # One list per line is as common as one list of lists.
        yield from (json.loads(line) for line in text.splitlines() if line.strip())
        return
    if not isinstance(data, list):
        raise ValueError(_NO_LISTS)  # noqa: TRY004  # as above
    # A single row is one list a line, too.
    yield from [data] if data and not isinstance(data[0], list) else data


def _by_pieces(text: str, place: int, stop: int) -> Iterator[Any]:
    """Yield the rows between two places, parsed some at a time: all at once take eight times
    the memory of the numbers.
    """
    while place < stop:
        cut = text.find("]", place + _PIECE, stop)
        cut = cut if cut >= 0 else text.rfind("]", place, stop)
        if cut < 0:
            raise ValueError("its list of lists has no end")
        yield from json.loads(f"[{text[place : cut + 1]}]")
        comma = _COMMA.match(text, cut + 1)
        place = comma.end() if comma else stop
        if comma is None and text[cut + 1 : stop].strip():
            raise ValueError(f"a comma is missing after character {cut + 1}")


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
