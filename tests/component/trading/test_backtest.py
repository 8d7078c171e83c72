"""The backtest: the live path over any recording, every cost, and no claim beyond the interval."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homeostat.cli import run as command_line
from homeostat.errors import MarketDataError
from homeostat.settings import settings
from homeostat.trading import venue
from homeostat.trading.backtest import Result, Trade, backtest
from homeostat.trading.backtest import run as running
from homeostat.trading.backtest.run import MOST_POSITIONS
from homeostat.trading.dynamic_tpsl import Policy
from homeostat.trading.market import generator
from homeostat.trading.market.panel import Instrument, Panel
from homeostat.trading.models.agent import EwmaModel
from tests.conftest import forget_settings

BARS = 900
#: Recordings that are drawn of a policy that earns nothing.
RUNS = 400
#: A funding moment, and the first minute of a climb that has it among its bars.
MIDNIGHT = 1_700_006_400
BEGIN = MIDNIGHT - 60 * 250


def rows_of(panel: Panel, symbol: int = 0) -> list[list[float]]:
    columns = (panel.open, panel.high, panel.low, panel.close, panel.volume)
    table = [[float(one[symbol, bar]) for one in columns] for bar in range(1, len(panel.times))]
    times = panel.times[1:].tolist()
    return [[time * 1000, *row] for time, row in zip(times, table, strict=True)]


def as_csv(rows: list[list[float]], folder: Path) -> Path:
    path = folder / "BTCUSDT_1m.csv"
    lines = [",".join(map(repr, (int(row[0]), *row[1:]))) for row in rows]
    path.write_text("\n".join(["timestamp,open,high,low,close,volume", *lines, ""]))
    return path


def as_json(rows: list[list[float]], folder: Path) -> Path:
    path = folder / "BTCUSDT-1m.json"
    path.write_text(json.dumps(rows))
    return path


def as_zip(rows: list[list[float]], folder: Path) -> Path:
    home = folder / "minute" / "btcusdt"
    home.mkdir(parents=True)
    midnight = 86_400_000 * (int(rows[0][0]) // 86_400_000)
    lines = [",".join(map(repr, (int(row[0]) - midnight, *row[1:]))) for row in rows]
    day = np.datetime64(midnight, "ms").astype("datetime64[D]").astype(str).replace("-", "")
    path = home / f"{day}_trade.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{day}_btcusdt_minute_trade.csv", "\n".join(lines))
    return folder


def as_feather(rows: list[list[float]], folder: Path) -> Path:
    feather = pytest.importorskip("pyarrow.feather", reason="install homeostat[feather]")
    arrow = pytest.importorskip("pyarrow")
    names = ("open", "high", "low", "close", "volume")
    columns = dict(zip(names, np.array(rows)[:, 1:].T, strict=True))
    dates = arrow.array([int(row[0]) for row in rows], type=arrow.timestamp("ms", tz="UTC"))
    path = folder / "BTC_USDT_USDT-1m-futures.feather"
    feather.write_feather(arrow.table({"date": dates, **columns}), path)
    return path


@pytest.fixture(scope="module")
def panel() -> Panel:
    return generator.panel(3, symbols=12, bars=BARS)


@pytest.mark.parametrize("write", [as_json, as_zip, as_feather])
def test_every_format_of_the_same_bars_gives_the_same_trades(
    write: Callable[[list[list[float]], Path], Path], panel: Panel, tmp_path: Path
) -> None:
    rows = rows_of(panel)
    expected = backtest(as_csv(rows, tmp_path))
    folder = tmp_path / "other"
    folder.mkdir()
    found = backtest(write(rows, folder))
    assert len(expected.trades) > 3
    same = [replace(one, symbol="") for one in expected.trades]
    assert [replace(one, symbol="") for one in found.trades] == same


def folder_of(panel: Panel, home: Path) -> Path:
    for row, symbol in enumerate(panel.symbols):
        (home / f"{symbol}.json").write_text(json.dumps(rows_of(panel, row)))
    return home


def test_symbols_of_one_time_share_one_book_and_its_limits(panel: Panel, tmp_path: Path) -> None:
    found = backtest(folder_of(panel, tmp_path))
    spans = [(one.at, one.at + 60 * one.bars, one.symbol) for one in found.trades]
    for start, _, symbol in spans:
        open_then = [name for begin, end, name in spans if begin <= start < end]
        assert len(open_then) <= MOST_POSITIONS
        assert open_then.count(symbol) == 1
    assert {one.symbol for one in found.trades} > {"BTCUSDT"}
    assert found.blocks["OPENED"] == len(found.trades)
    # What was lost since the beginning is part of the deepest fall.
    assert found.equity < 10_000
    assert found.drawdown >= 1 - found.equity / 10_000 - 1e-12
    denied = {"CLUSTER_CONCENTRATION", "NET_EXPOSURE", "MAX_POSITIONS_REACHED"}
    assert denied & set(found.blocks)


def test_the_universe_filters_unless_it_is_told_not_to(panel: Panel, tmp_path: Path) -> None:
    quiet = replace(panel, volume=np.full_like(panel.volume, 1e-9))
    path = folder_of(quiet, tmp_path)
    found = backtest(path)
    assert not found.trades
    assert found.excluded["LOW_VOLUME"] > 0
    assert "LOW_VOLUME" in str(found.as_json()["conclusion"])
    assert backtest(path, universe=False).trades


def climbing(bars: int = 400) -> Panel:
    """A price that rises without a pause: every exit but the target can be excluded."""
    wobble = np.tile((0.0006, -0.0004), bars)[:bars]
    steps = np.where(np.arange(bars) < 150, wobble, 0.0008 + 0.2 * wobble)
    close = 100 * np.exp(np.cumsum(steps))[None, :]
    opened = np.concatenate([close[:, :1], close[:, :-1]], axis=1)
    high, low = np.maximum(opened, close) * 1.0001, np.minimum(opened, close) * 0.9999
    times = BEGIN + 60 * np.arange(bars, dtype=np.int64)
    return Panel(("UPUSDT",), times, opened, high, low, close, np.full_like(close, 1e5))


@pytest.fixture
def unblocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a model be as one-sided as a price that only rises makes it."""
    monkeypatch.setenv("HOMEOSTAT_MODE", "OBSERVE")
    forget_settings()


@pytest.mark.usefixtures("unblocked")
def test_a_steady_climb_earns_and_is_amplified_by_the_live_rules(tmp_path: Path) -> None:
    found = backtest(as_csv(rows_of(climbing()), tmp_path), model=EwmaModel(slope=3.0))
    late = [one for one in found.trades if one.at >= BEGIN + 60 * 160]
    assert late
    assert all(one.side == 1 and one.r > 0 for one in late)
    assert sum(one.adds for one in late) > 0
    assert found.equity > 10_000


def without(cost: str, patch: pytest.MonkeyPatch) -> None:
    """Take one cost away from every trade."""
    if cost in {"TAKER_FEE", "SLIPPAGE"}:
        patch.setattr(venue.paper, cost, 0.0)
    else:
        free: Any = {cost: 0.0}
        patch.setattr(running, "Instrument", partial(Instrument, **free))


@pytest.mark.usefixtures("unblocked")
@pytest.mark.parametrize(
    ("cost", "name", "paid"),
    [
        ("TAKER_FEE", "fees", 2 * 0.0005),
        ("SLIPPAGE", "slippage", 2 * 0.0001),
        ("half_spread", "slippage", 2 * 0.0001),
        ("funding_rate", "funding", 0.0001),
    ],
)
def test_each_cost_is_in_the_result_of_each_trade_that_met_it(
    cost: str, name: str, paid: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = as_csv(rows_of(climbing()), tmp_path)
    dear = backtest(path, policy=Policy.TIERED, model=EwmaModel(slope=3.0))
    without(cost, monkeypatch)
    free = backtest(path, policy=Policy.TIERED, model=EwmaModel(slope=3.0))
    assert [one.at for one in free.trades] == [one.at for one in dear.trades]
    met = 0
    for cheap, one in zip(free.trades, dear.trades, strict=True):
        midnight = one.at < MIDNIGHT <= one.at + 60 * one.bars
        if cost == "funding_rate" and not midnight:
            assert cheap.net == pytest.approx(one.net, rel=1e-9)
            continue
        met += 1
        assert cheap.net - one.net == pytest.approx(paid, rel=0.1)
        saved = getattr(one.costs, name) - getattr(cheap.costs, name)
        assert cheap.r - one.r == pytest.approx(saved, rel=0.05)
    assert met > 0
    assert cost == "funding_rate" or met == len(dear.trades)
    assert free.equity > dear.equity
    told: Any = dear.as_json()
    assert told["costs_r"][name] == pytest.approx(
        np.mean([getattr(one.costs, name) for one in dear.trades])
    )


def test_nothing_of_a_backtest_reaches_the_live_store(panel: Panel, tmp_path: Path) -> None:
    backtest(as_csv(rows_of(panel), tmp_path))
    assert not (settings().state_dir / "homeostat.sqlite3").exists()


def result(r: list[float], hours: float = 8) -> Result:
    trades = [
        Trade("X", int(n * hours * 3_600), 1, "TIME_BARRIER", one, one / 100, 60)
        for n, one in enumerate(r)
    ]
    return Result("volatility", trades, 1_000)


def interval(found: Result) -> tuple[float, float]:
    bounds: Any = found.as_json()["expectancy_r_95"]
    return bounds[0], bounds[1]


def test_the_interval_decides_what_was_shown() -> None:
    draw = np.random.default_rng(1)
    noise = draw.normal(0, 1, 200)
    noise -= noise.mean()
    assert "contains zero" in str(result((noise + 0.05).tolist()).as_json()["conclusion"])
    assert "above zero" in str(result((noise + 0.5).tolist()).as_json()["conclusion"])
    assert "below zero" in str(result((noise - 0.5).tolist()).as_json()["conclusion"])
    low, high = interval(result((noise + 0.5).tolist()))
    assert high - low == pytest.approx(2 * 1.96 * noise.std(ddof=1) / math.sqrt(200), rel=0.01)
    assert result([0.3]).as_json()["expectancy_r_95"] is None
    assert result([]).as_json()["conclusion"] == "no trades"


def said(found: Result) -> tuple[object, str]:
    told = found.as_json()
    return told["expectancy_r_95"], str(told["conclusion"])


def test_results_that_are_all_equal_say_nothing_of_their_spread() -> None:
    for count in (2, 40):
        bounds, words = said(result([0.3] * count))
        assert bounds is None
        assert "nothing was shown" in words


def test_trades_of_the_same_hours_alone_say_nothing() -> None:
    r = np.random.default_rng(3).normal(1, 0.2, 40).tolist()
    bounds, words = said(result(r, hours=0.05))
    assert bounds is None
    assert "nothing was shown" in words
    assert "above zero" in said(result(r))[1]


def test_a_few_trades_show_nothing_however_good_they_are() -> None:
    r = np.random.default_rng(3).normal(1, 0.2, 40).tolist()
    bounds, words = said(result(r[:19]))
    assert bounds is not None
    assert "too few" in words
    assert "above zero" in said(result(r[:20]))[1]


@pytest.mark.parametrize(
    ("count", "dependent"),
    [
        (20, "alone"),
        (40, "alone"),
        (20, "by the hour"),
        (120, "by the hour"),
        (120, "by the day"),
        (240, "by the day"),
    ],
)
def test_what_earns_nothing_is_seldom_said_to_earn(count: int, dependent: str) -> None:
    draw = np.random.default_rng(count)
    hours = {"alone": 8.0, "by the hour": 0.5, "by the day": 2.0}[dependent]
    together = {"alone": 1, "by the hour": 8, "by the day": 12}[dependent]
    claims = 0
    for _ in range(RUNS):
        # A stop costs one R, a target earns two: of three trades one has to end well.
        ends = draw.random(-(-count // together)) < 1 / 3
        r = np.where(np.repeat(ends, together)[:count], 2.0, -1.0) + draw.normal(0, 0.1, count)
        claims += "above zero" in said(result(r.tolist(), hours))[1]
    assert claims / RUNS < 0.04


def test_trades_of_the_same_hours_count_for_less() -> None:
    waves = np.repeat(np.random.default_rng(2).normal(0.2, 1, 25), 8).tolist()
    assert interval(result(waves, hours=0.5))[0] < interval(result(waves))[0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", "timestamp,open,high,low,close,volume\n1700000040,1,1,1,1\n"),
        ("x.csv", "time,o,h,l,c\n"),
        ("x.json", "[[1700000040000, 1, 2, 3]]"),
        ("x.json", '[[1700000040000, 1, 2, 1, 1, "a"]]'),
        ("20221213_trade.zip", "no zip"),
        ("x.feather", "no feather"),
        ("x.csv", "timestamp,open,high,low,close,volume\n1700000040,1,1,1,nan,1\n"),
    ],
)
def test_a_file_that_cannot_be_believed_is_one_clear_sentence(
    name: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_text(content)
    assert command_line(["trade", "backtest", "--data", str(path), "-o", "json"]) == 2
    told = capsys.readouterr()
    assert name in told.err
    assert told.out == ""
    assert "Traceback" not in told.err
    assert len(told.err.strip().splitlines()) <= 3


def test_too_short_a_recording_is_refused(panel: Panel, tmp_path: Path) -> None:
    with pytest.raises(MarketDataError, match="holds no 131 minutes"):
        backtest(as_csv(rows_of(panel)[:120], tmp_path))
