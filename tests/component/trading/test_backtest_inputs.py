"""`trade backtest` on whatever files somebody has: the right trades, or one sentence that says why.

Every good form of the same bars must give the very trades of the plain CSV file.
"""

from __future__ import annotations

import gzip
import json
import os
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homeostat.cli import run as command_line
from homeostat.trading.backtest import backtest
from homeostat.trading.market import generator

HEADER = "timestamp,open,high,low,close,volume"
#: A Tuesday's first minute, so that all bars fall on one day of LEAN's.
BEGIN = 1_670_889_600
Row = list[float]
Write = Callable[[Path, list[Row]], None]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    panel = generator.panel(3, symbols=2, bars=401)
    names = ("open", "high", "low", "close", "volume")
    columns = np.stack([getattr(panel, name)[0, 1:] for name in names], axis=1).tolist()
    return [[BEGIN + 60 * bar, *cells] for bar, cells in enumerate(columns)]


def lines(rows: list[Row], stamp: Callable[[int], object] = int) -> list[str]:
    return [",".join([str(stamp(int(row[0]))), *map(repr, row[1:])]) for row in rows]


def text(rows: list[Row], stamp: Callable[[int], object] = int, end: str = "\n") -> str:
    return end.join([HEADER, *lines(rows, stamp), ""])


def lists(rows: list[Row]) -> list[Row]:
    return [[1000 * row[0], *row[1:]] for row in rows]


def zipped(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        cells = [[1000 * (row[0] - BEGIN), *row[1:]] for row in rows]
        archive.writestr("day.csv", "\n".join(",".join(map(repr, row)) for row in cells))


def iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")


def feathered(path: Path, rows: list[Row], every: int = 60) -> None:
    pa = pytest.importorskip("pyarrow", reason="install homeostat[feather]")
    feather = pytest.importorskip("pyarrow.feather")
    names = ("open", "high", "low", "close", "volume")
    columns = dict(zip(names, np.array(rows)[:, 1:].T, strict=True))
    stamps = [1000 * (BEGIN + every * bar) for bar in range(len(rows))]
    dates = pa.array(stamps, type=pa.timestamp("ms", tz="UTC"))
    feather.write_feather(pa.table({"date": dates, **columns}), path)


def nested(folder: Path, rows: list[Row]) -> None:
    home = folder / "a" / "b"
    home.mkdir(parents=True)
    (home / "X.csv").write_text(text(rows))


def mixed(folder: Path, rows: list[Row]) -> None:
    (folder / "X.csv").write_text(text(rows))
    (folder / "README.md").write_text("Read me.")
    (folder / "pairs.json").write_text('{"X": 1}')
    (folder / "notes.csv").write_text("day,words\n1,none\n")
    (folder / "empty.csv").touch()
    (folder / "folder.csv").mkdir()
    feathered(folder / "X-1h-futures.feather", rows, every=3_600)
    (folder / "loop").symlink_to(folder)
    (folder / "loop.csv").symlink_to(folder / "loop.csv")
    (folder / "gone.json").symlink_to(folder / "nothing.json")
    os.mkfifo(folder / "pipe.csv")


GOOD: dict[str, Write] = {
    "milliseconds": lambda f, r: _put(f / "X.csv", text(r, lambda s: 1000 * s)),
    "microseconds": lambda f, r: _put(f / "X.csv", text(r, lambda s: 1_000_000 * s)),
    "a fraction of seconds": lambda f, r: _put(f / "X.csv", text(r, float)),
    "ISO": lambda f, r: _put(f / "X.csv", text(r, iso)),
    "ISO with a zone": lambda f, r: _put(f / "X.csv", text(r, lambda s: iso(s) + "+00:00")),
    "ISO with a Z": lambda f, r: _put(f / "X.csv", text(r, lambda s: iso(s) + "Z")),
    "a byte order mark": lambda f, r: _put(f / "X.csv", "\ufeff" + text(r)),
    "CRLF": lambda f, r: _put(f / "X.csv", text(r, end="\r\n")),
    "empty lines at the end": lambda f, r: _put(f / "X.csv", text(r) + "\n\n"),
    "capitals and blanks in the header": lambda f, r: _put(
        f / "X.CSV", text(r).replace(HEADER, "Timestamp, Open, High, Low, Close, Volume")
    ),
    "csv.gz": lambda f, r: _bytes(f / "X.csv.gz", gzip.compress(text(r).encode())),
    "JSON": lambda f, r: _put(f / "X-1m.json", json.dumps(lists(r))),
    "a JSON list a line": lambda f, r: _put(f / "X-1m.json", "\n".join(map(json.dumps, lists(r)))),
    "json.gz": lambda f, r: _bytes(
        f / "X-1m.json.gz", gzip.compress(json.dumps(lists(r)).encode())
    ),
    "LEAN": lambda f, r: zipped(f / "venue" / "minute" / "x" / "20221213_trade.zip", r),
    "feather": lambda f, r: feathered(f / "X-1m-futures.feather", r),
    "a nested folder": nested,
    "a mixed folder": mixed,
}


def _put(path: Path, content: str) -> None:
    path.write_bytes(content.encode())


def _bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def told(capture: Capture, path: Path, *more: str) -> dict[str, Any]:
    """Return what the command says in JSON; its standard output holds nothing else."""
    capture.readouterr()
    assert command_line(["trade", "backtest", "--data", str(path), *more, "-o", "json"]) == 0
    found: dict[str, Any] = json.loads(capture.readouterr().out, parse_constant=pytest.fail)
    return found


@pytest.fixture(scope="module")
def expected(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what comes out of the plain file."""
    plain = tmp_path_factory.mktemp("plain") / "X.csv"
    plain.write_text(text(rows))
    found = backtest(plain).as_json()
    assert isinstance(found["trades"], int)
    assert found["trades"] > 1
    return found


@pytest.mark.parametrize("form", GOOD)
def test_every_form_of_the_same_bars_gives_the_same_result(
    form: str, rows: list[Row], expected: dict[str, Any], tmp_path: Path, capsys: Capture
) -> None:
    GOOD[form](tmp_path, rows)
    found = told(capsys, tmp_path)
    left_out = found.pop("passed_over")
    assert found | {"passed_over": {}} == expected
    assert set(left_out) == (MIXED if form == "a mixed folder" else set())


MIXED = {
    "pairs.json",
    "notes.csv",
    "empty.csv",
    "X-1h-futures.feather",
    "loop.csv",
    "gone.json",
    "pipe.csv",
}


def test_what_was_left_out_of_a_folder_is_said_with_its_reason(
    rows: list[Row], tmp_path: Path, capsys: Capture
) -> None:
    mixed(tmp_path, rows)
    left_out = told(capsys, tmp_path)["passed_over"]
    assert "3600 s apart" in left_out["X-1h-futures.feather"]
    assert "its header is 'day,words'" in left_out["notes.csv"]
    assert "not a list of" in left_out["pairs.json"]
    assert "no regular file" in left_out["pipe.csv"]


def changed(row: int, column: int, value: object) -> Write:
    """Return what writes the bars with one cell changed."""

    def write(folder: Path, rows: list[Row]) -> None:
        content = text(rows).splitlines()
        cells: list[object] = list(content[row].split(","))
        cells[column] = value
        content[row] = ",".join(map(str, cells))
        _put(folder / "X.csv", "\n".join(content))

    return write


def csv_of(edit: Callable[[list[Row]], list[Row]]) -> Write:
    return lambda folder, rows: _put(folder / "X.csv", text(edit(rows)))


def stretched(seconds: int) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [[BEGIN + seconds * bar, *row[1:]] for bar, row in enumerate(rows)]


def silent_hours(rows: list[Row]) -> list[Row]:
    """Return a hundred bars, five hours of silence, and a hundred bars more."""
    return rows[:100] + [[row[0] + 18_000, *row[1:]] for row in rows[100:200]]


#: What is wrong, how it is written, and the words of the sentence.
BAD: dict[str, tuple[Write, str]] = {
    "empty": (lambda f, _: _put(f / "X.csv", ""), "its header is ''"),
    "header only": (lambda f, _: _put(f / "X.csv", HEADER + "\n"), "holds no candles"),
    "one row": (csv_of(lambda rows: rows[:1]), "holds no 131 minutes"),
    "too few rows": (csv_of(lambda rows: rows[:130]), "holds no 131 minutes"),
    "silence": (csv_of(silent_hours), "holds no 131 minutes without an hour's silence"),
    "twice the same row": (csv_of(lambda rows: rows[:9] + rows[8:]), "repeats the time"),
    "newest first": (csv_of(lambda rows: rows[::-1]), "not in order of time, oldest first (row 2)"),
    "unsorted": (csv_of(lambda rows: [*rows[:7], rows[8], rows[7]]), "(row 9)"),
    "no number": (changed(3, 4, "nan"), "a price is missing or not a number (row 3)"),
    "infinite": (changed(3, 4, "inf"), "a price is missing or not a number (row 3)"),
    "no volume": (changed(3, 5, ""), "line 4: could not convert string to float: ''"),
    "volume nan": (changed(3, 5, "nan"), "a volume is below zero or missing (row 3)"),
    "negative volume": (changed(3, 5, -1), "a volume is below zero"),
    "negative price": (changed(3, 3, -5), "a price is not above zero (row 3)"),
    "zero price": (changed(3, 3, 0), "a price is not above zero (row 3)"),
    "low above high": (changed(3, 3, 1e9), "a low is above its high (row 3)"),
    "open outside": (changed(3, 1, 1e9), "an open lies outside its bar (row 3)"),
    "word": (changed(3, 1, "abc"), "line 4: could not convert string to float: 'abc'"),
    "wrong time": (changed(3, 0, "yesterday"), "line 4: Invalid isoformat string: 'yesterday'"),
    "time nan": (changed(3, 0, "nan"), "a time is missing or not a number (row 3)"),
    "before 1970": (changed(1, 0, -60), "a time lies outside 1970 to 2100 (row 1)"),
    "torn": (lambda f, r: _put(f / "X.csv", text(r)[:-40]), "fields, not 6"),
    "semicolons": (
        lambda f, r: _put(f / "X.csv", text(r).replace(",", ";")),
        "its header is 'timestamp;open;",
    ),
    "no header": (lambda f, r: _put(f / "X.csv", "\n".join(lines(r))), "not timestamp,open,"),
    "UTF-16": (lambda f, r: _bytes(f / "X.csv", text(r).encode("utf-16")), "can't decode"),
    "hours": (csv_of(stretched(3_600)), "its bars are 3600 s apart"),
    "seconds": (csv_of(stretched(1)), "its bars are 1 s apart"),
    "no gzip": (lambda f, r: _put(f / "X.csv.gz", text(r)), "Not a gzipped file"),
    "half a gzip": (
        lambda f, r: _bytes(f / "X.csv.gz", gzip.compress(text(r).encode())[:500]),
        "ended before",
    ),
    "an object": (lambda f, _: _put(f / "X.json", '{"a": 1}'), "it is not a list of"),
    "null": (lambda f, _: _put(f / "X.json", "[[1, 2, 3, 4, 5, null]]"), "row 1 is not six"),
    "a huge number": (
        lambda f, _: _put(f / "X.json", f"[[1{'0' * 400}, 2, 3, 4, 5, 6]]"),
        "too large",
    ),
    "deep": (lambda f, _: _put(f / "X.json", "[" * 99_999), "recursion"),
    "no zip": (lambda f, _: _put(f / "20221213_trade.zip", "no"), "not a zip file"),
    "another zip": (
        lambda f, r: zipped(f / "v" / "BTC-1m.zip", r),
        "its name is not <yyyymmdd>_trade.zip",
    ),
    "more than a day": (
        lambda f, r: zipped(f / "v" / "20221213_trade.zip", [[r[0][0] + 90_000, *r[0][1:]]]),
        "no millisecond of its day",
    ),
    "unreadable": (lambda f, _: (f / "X.csv").symlink_to("/proc/self/mem"), "cannot be read"),
    "a pipe": (lambda f, _: os.mkfifo(f / "X.csv"), "no file and no folder"),
    "a loop": (lambda f, _: (f / "X.csv").symlink_to(f / "X.csv"), "no file and no folder"),
    "nothing": (lambda _f, _r: None, "holds no usable candles"),
    "words only": (lambda f, _: _put(f / "README.md", "Read me."), "holds no usable candles"),
}


def the_only(folder: Path) -> Path:
    """Return the only file below a folder, or the folder where there is none of candles."""
    found = [one for one in folder.rglob("*") if not one.is_dir() and one.suffix != ".md"]
    return found[0] if found else folder


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_traded_is_one_sentence_and_nothing_on_standard_output(
    kind: str, rows: list[Row], tmp_path: Path, capsys: Capture
) -> None:
    write, words = BAD[kind]
    write(tmp_path, rows)
    file = the_only(tmp_path)
    for path in {file, tmp_path}:
        assert command_line(["trade", "backtest", "--data", str(path), "-o", "json"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        (sentence,) = err.strip().splitlines()
        assert path.name in sentence
        assert sentence.endswith(".")
    # Asked for the file last or alone, the sentence says what is wrong with it.
    assert command_line(["trade", "backtest", "--data", str(file)]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("path", ["/nowhere/at/all", "/dev/null", "x" * 5_000])
def test_a_path_that_is_none_is_one_sentence(path: str, capsys: Capture) -> None:
    assert command_line(["trade", "backtest", "--data", path]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def by_months(folder: Path, rows: list[Row]) -> None:
    for number in range(4):
        (folder / f"X-1m-2022-{number + 1:02}.csv").write_text(text(rows[100 * number :][:100]))


def dated(folder: Path, rows: list[Row]) -> None:
    (folder / "x").mkdir()
    (folder / "x" / "2022-01.csv").write_text(text(rows[:150]))
    (folder / "x" / "2022-02.csv").write_text(text(rows[150:]))


def overlapping(folder: Path, rows: list[Row]) -> None:
    (folder / "X-1.csv").write_text(text(rows[:220]))
    (folder / "X-2.json").write_text(json.dumps(lists(rows[200:])))


def linked(folder: Path, rows: list[Row]) -> None:
    elsewhere = folder.parent / f"{folder.name}-elsewhere"
    elsewhere.mkdir()
    (elsewhere / "X.csv").write_text(text(rows))
    (elsewhere / "up").symlink_to(folder)
    (folder / "down").symlink_to(elsewhere)


@pytest.mark.parametrize("write", [by_months, dated, overlapping, linked])
def test_the_files_of_one_symbol_that_follow_one_another_are_one_series(
    write: Write, rows: list[Row], expected: dict[str, Any], tmp_path: Path, capsys: Capture
) -> None:
    write(tmp_path, rows)
    assert told(capsys, tmp_path) == expected


def test_the_same_bars_in_two_files_are_not_traded_twice(
    rows: list[Row], expected: dict[str, Any], tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "X.csv").write_text(text(rows))
    (tmp_path / "X-1m.json").write_text(json.dumps(lists(rows)))
    (tmp_path / "X-2.csv").write_text(text(rows[50:90]))
    found = told(capsys, tmp_path)
    left_out = found.pop("passed_over")
    assert found | {"passed_over": {}} == expected
    assert "has only bars that" in left_out["X.csv"]


def test_bars_that_contradict_each_other_are_two_series(
    rows: list[Row], tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "X-1.csv").write_text(text(rows))
    (tmp_path / "X-2.csv").write_text(text([[row[0], *(2 * x for x in row[1:])] for row in rows]))
    assert told(capsys, tmp_path, "--all-symbols")["series"] == 2


def test_a_folder_that_is_the_present_one_is_named_by_its_own_name(
    rows: list[Row], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "X-1.csv").write_text(text(rows))
    (tmp_path / "X-2.csv").write_text(text([[row[0], *(2 * x for x in row[1:])] for row in rows]))
    monkeypatch.chdir(tmp_path)
    assert told(capsys, Path(), "--all-symbols")["series"] == 2


def test_a_gap_costs_its_minutes_and_no_more(
    rows: list[Row], tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "X.csv"
    file.write_text(text(rows[:200] + rows[210:]))
    found = told(capsys, file)
    assert (found["bars"], found["minutes"]) == (390, 270)
    assert found["blocks"]["ABSTAIN_GAPPED"] > 0
    # An hour of silence parts it in two, and each has to be looked at for itself.
    late = [[row[0] + 18_000, *row[1:]] for row in rows[200:]]
    file.write_text(text(rows[:200] + late))
    assert told(capsys, file)["minutes"] == 2 * (200 - 130)


def test_prices_of_any_size_are_traded_alike(
    rows: list[Row], tmp_path: Path, capsys: Capture
) -> None:
    found = []
    for scale in (1e-6, 1.0, 1e6):
        file = tmp_path / "X.csv"
        scaled = [[row[0], *(scale * cell for cell in row[1:5]), row[5]] for row in rows]
        file.write_text(text(scaled))
        found.append(told(capsys, file))
    assert [one["trades"] for one in found] == [found[1]["trades"]] * 3
    for one in found:
        assert one["expectancy_r"] == pytest.approx(found[1]["expectancy_r"], abs=1e-6)


def test_bars_without_any_volume_are_traded_and_some_hours_of_none_are_not(
    rows: list[Row], tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "X.csv"
    file.write_text(text([[*row[:5], 0.0] for row in rows]))
    assert told(capsys, file)["trades"] > 1
    file.write_text(
        text([[*row[:5], 0.0 if bar > 150 else row[5]] for bar, row in enumerate(rows)])
    )
    assert told(capsys, file)["blocks"]["ABSTAIN_NO_VOLUME"] > 0
