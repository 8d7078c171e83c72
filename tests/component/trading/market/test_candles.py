"""Readers of recorded candles: what they read, and what they refuse in one sentence."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from homeostat.errors import MarketDataError
from homeostat.trading.market import candles, port

RECORDED = Path(__file__).parents[5] / "shared" / "data" / "market"
HEADER = "timestamp,open,high,low,close,volume"
ROWS: list[tuple[float, ...]] = [
    (1_640_995_200 + 60 * i, 100.0 + i, 101.0 + i, 99.0 + i, 100.5 + i, 7.0) for i in range(5)
]
needs_recordings = pytest.mark.skipif(
    not RECORDED.is_dir(), reason="the recorded data lie beside the project and are not here"
)


def write_csv(path: Path, rows: list[tuple[float, ...]] = ROWS, header: str = HEADER) -> Path:
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_lean(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("day.csv", text)
    return path


def test_a_csv_is_read_with_its_symbol(tmp_path: Path) -> None:
    found = candles.read_file(write_csv(tmp_path / "eth-perp-2022_1m.csv"))
    assert found.symbol == "ETH-PERP"
    assert found.times.tolist() == [row[0] for row in ROWS]
    assert found.close.tolist() == [row[4] for row in ROWS]


def test_iso_timestamps_are_utc(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"{HEADER}\n2022-01-01 00:00:00.000000,1,2,1,2,3\n")
    assert candles.read_file(path).times.tolist() == [1_640_995_200]


def test_lean_days_are_joined_and_quotes_passed_over(tmp_path: Path) -> None:
    home = tmp_path / "cryptofuture" / "binance" / "minute" / "adausdt"
    write_lean(home / "20221213_trade.zip", "0,1,2,1,2,5\n60000,2,3,2,3,5\n")
    write_lean(home / "20221214_trade.zip", "0,3,4,3,4,5\n")
    write_lean(home / "20221214_quote.zip", "nonsense")
    (found,) = candles.read_path(tmp_path).series
    assert found.symbol == "ADAUSDT"
    assert found.times.tolist() == [1_670_889_600, 1_670_889_660, 1_670_976_000]


@pytest.mark.parametrize("lines", [False, True], ids=["one list", "a list a line"])
def test_json_lists_are_read(
    tmp_path: Path,
    lines: bool,  # noqa: FBT001  # a pytest parameter
) -> None:
    rows = [[int(row[0]) * 1000, *row[1:]] for row in ROWS]
    path = tmp_path / "BTC_USDT-1m-futures.json"
    path.write_text("\n".join(map(json.dumps, rows)) if lines else json.dumps(rows))
    found = candles.read_file(path)
    assert found.times.tolist() == [row[0] for row in ROWS]
    assert found.symbol == "BTC_USDT"


def test_equal_symbols_of_two_venues_keep_apart(tmp_path: Path) -> None:
    for venue in ("binance", "bybit"):
        write_lean(tmp_path / venue / "minute" / "btcusd" / "20221213_trade.zip", "0,1,2,1,2,5\n")
    found = candles.read_path(tmp_path).series
    assert [one.symbol for one in found] == ["BTCUSD.binance", "BTCUSD.bybit"]


def damaged(kind: str, folder: Path) -> Path:  # noqa: C901  # one branch a damage
    path = folder / "bad.csv"
    rows = [list(row) for row in ROWS]
    if kind == "truncated row":
        text = write_csv(path).read_text()
        path.write_text(text[:-18])
    elif kind == "out of order":
        write_csv(path, [ROWS[0], ROWS[2], ROWS[1]])
    elif kind == "doubled row":
        write_csv(path, [ROWS[0], ROWS[0]])
    elif kind == "wrong header":
        write_csv(path, header="time,o,h,l,c,v")
    elif kind == "no rows":
        write_csv(path, [])
    elif kind == "low above high":
        rows[2][3] = 500.0
        write_csv(path, [tuple(row) for row in rows])
    elif kind == "zero price":
        rows[1][1:5] = [0.0] * 4
        write_csv(path, [tuple(row) for row in rows])
    elif kind == "not a number":
        rows[1][4] = float("nan")
        write_csv(path, [tuple(row) for row in rows])
    elif kind == "bytes":
        path.write_bytes(b"\x00\xff\xfe" * 50)
    elif kind == "truncated zip":
        path = write_lean(folder / "x" / "20221213_trade.zip", "0,1,2,1,2,5\n" * 1)
        path.write_bytes(path.read_bytes()[:-30])
    elif kind == "rows of null":
        path = folder / "bad.json"
        path.write_text(json.dumps([[1_640_995_200_000, None, None, None, None, None]]))
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "truncated row",
        "out of order",
        "doubled row",
        "wrong header",
        "no rows",
        "low above high",
        "zero price",
        "not a number",
        "bytes",
        "truncated zip",
        "rows of null",
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path: Path, kind: str) -> None:
    path = damaged(kind, tmp_path)
    with pytest.raises(MarketDataError) as caught:
        candles.read_path(path)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    assert message.endswith(".")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MarketDataError, match="holds no usable candles"):
        candles.read_path(tmp_path)


@needs_recordings
def test_the_recorded_month_is_read_whole() -> None:
    found = candles.read_file(RECORDED / "btc-perp-20211231-20220201_1m.csv")
    assert len(found) == 45_031
    assert found.close[0] == 46_377.0


@needs_recordings
def test_all_recorded_days_are_read() -> None:
    found = candles.read_path(RECORDED / "lean").series
    assert len(found) == 9
    assert all(np.diff(one.times).min() >= 60 for one in found)


def test_files_that_are_passed_over_stand_in_the_name_of_the_market(tmp_path: Path) -> None:
    write_csv(tmp_path / "good.csv")
    assert "passed over" not in port.recorded(tmp_path, tmp_path).source
    write_csv(tmp_path / "bad.csv", header="day,words")
    assert port.recorded(tmp_path, tmp_path).source.endswith("replayed; 1 files passed over")


@pytest.mark.parametrize(("day", "offset"), [("20131007", 4), ("20131209", 5)])
def test_leans_equities_are_in_ten_thousandths_by_the_clock_of_new_york(
    day: str, offset: int, tmp_path: Path
) -> None:
    path = tmp_path / "equity" / "usa" / "minute" / "spy" / f"{day}_trade.zip"
    write_lean(path, "34200000,1458500,1460000,1458400,1459900,5\n")
    found = candles.read_file(path)
    midnight = int(np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}", "s").astype(np.int64))
    assert found.times.tolist() == [midnight + 3_600 * offset + 34_200]
    assert found.close[0] == pytest.approx(145.99)
    assert (found.symbol, found.volume[0]) == ("SPY", 5.0)


def test_leans_equities_of_an_unknown_clock_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "equity" / "india" / "minute" / "yesbank" / "20131007_trade.zip"
    write_lean(path, "34200000,1,2,1,2,5\n")
    with pytest.raises(MarketDataError, match="the clock of LEAN's equity/india is not known"):
        candles.read_file(path)


def test_many_days_of_one_symbol_are_joined_in_order(tmp_path: Path) -> None:
    for day in (15, 13, 14):
        path = tmp_path / "bybit" / "minute" / "btcusd" / f"202212{day}_trade.zip"
        write_lean(path, f"0,{day},{day},{day},{day},5\n")
    (found,) = candles.read_path(tmp_path).series
    assert found.close.tolist() == [13.0, 14.0, 15.0]
