"""A backtest knows nothing of the future, and takes the worse of what a candle leaves open."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from homeostat.trading.backtest import Trade, backtest
from homeostat.trading.backtest.stretches import ENDED_S
from homeostat.trading.market import generator
from homeostat.trading.market.panel import Candles
from homeostat.trading.models.agent import EwmaModel
from tests.conftest import forget_settings

BARS = 420
BEGIN = 1_670_889_600
PRICES = ("open", "high", "low", "close")


def written(path: Path, one: Candles) -> Path:
    columns = np.array([getattr(one, name) for name in (*PRICES, "volume")]).T.tolist()
    rows = [[1000 * time, *row] for time, row in zip(one.times.tolist(), columns, strict=True)]
    path.write_text(json.dumps(rows))
    return path


def drawn(seed: int, symbol: int = 0) -> Candles:
    panel = generator.panel(seed, symbols=symbol + 2, bars=BARS + 1)
    times = BEGIN + 60 * np.arange(BARS, dtype=np.int64)
    columns = (getattr(panel, name)[symbol, 1:] for name in (*PRICES, "volume"))
    return Candles(f"S{symbol}", times, *columns)


def with_another_future(one: Candles, bar: int, seed: int, jump: float) -> Candles:
    """Return the series with a jump at `bar`, and the moves after it in another order."""
    order = np.random.default_rng(seed).permutation(np.arange(bar, len(one)))
    steps = np.diff(np.log(one.close))[order - 1]
    close = jump * one.close[bar - 1] * np.exp(np.cumsum(steps))
    ratio = close / one.close[order]
    changed: dict[str, Any] = {name: np.array(getattr(one, name)) for name in (*PRICES, "volume")}
    for name in PRICES:
        changed[name][bar:] = getattr(one, name)[order] * ratio
    changed["volume"][bar:] = one.volume[order]
    return replace(one, **changed)


def known_by(trades: list[Trade], moment: int) -> list[tuple[object, ...]]:
    """Return what was decided by a moment: all entries, and all of those that had ended."""
    found = []
    for one in trades:
        if one.at + 60 * one.bars <= moment:
            found.append(tuple(getattr(one, part.name) for part in fields(one)))
        elif one.at <= moment:
            found.append((one.symbol, one.at, one.side))
    return sorted(found, key=repr)


# To make a counterexample smaller would take minutes of backtests.
@settings(
    max_examples=3,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(1, 50), place=st.floats(0, 1), other=st.integers(0, 999))
def test_no_decision_knows_what_comes_after_it(
    seed: int, place: float, other: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    series = [drawn(seed, symbol) for symbol in range(3)]

    def traded(found: list[Candles]) -> list[Trade]:
        home = tmp_path_factory.mktemp("data")
        for one in found:
            written(home / f"{one.symbol}-1m.json", one)
        return list(backtest(home, universe=False).trades)

    lived = traded(series)
    # The moment of an entry: whoever saw one bar more would see the jump.
    moment = sorted(one.at for one in lived)[round(place * (len(lived) - 1))]
    bar = (moment - BEGIN) // 60
    for jump in (0.5, 2.0):
        other_way = traded([with_another_future(one, bar, other, jump) for one in series])
        assert known_by(other_way, moment) == known_by(lived, moment)


def climbing(bars: int = 400) -> Candles:
    """A price that rises without a pause, so that a long position is sure to be held."""
    wobble = np.tile((0.0006, -0.0004), bars)[:bars]
    steps = np.where(np.arange(bars) < 150, wobble, 0.0008 + 0.2 * wobble)
    close = 100 * np.exp(np.cumsum(steps))
    opened = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(opened, close) * 1.0001, np.minimum(opened, close) * 0.9999
    times = BEGIN + 60 * np.arange(bars, dtype=np.int64)
    return Candles("UP", times, opened, high, low, close, np.full(bars, 1e5))


@pytest.fixture
def unblocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a model be as one-sided as a price that only rises makes it."""
    monkeypatch.setenv("HOMEOSTAT_MODE", "OBSERVE")
    forget_settings()


def held(one: Candles, path: Path) -> tuple[Trade, int]:
    """Return a long trade of the climb that was held for a while, and the bar of its entry."""
    trades = backtest(written(path, one), model=EwmaModel(slope=3.0)).trades
    trade = next(t for t in trades if t.side > 0 and t.bars > 8 and t.at > BEGIN + 60 * 150)
    return trade, (trade.at - BEGIN) // 60


def again(one: Candles, path: Path, trade: Trade) -> Trade:
    trades = backtest(written(path, one), model=EwmaModel(slope=3.0)).trades
    return next(t for t in trades if t.at == trade.at)


def planted(one: Candles, bar: int, **values: float) -> Candles:
    """Return the series with one bar's prices multiplied."""
    changed: dict[str, Any] = {name: np.array(getattr(one, name)) for name in PRICES}
    for name, times in values.items():
        changed[name][bar] *= times
    return replace(one, **changed)


@pytest.mark.usefixtures("unblocked")
def test_a_candle_that_touches_stop_and_target_is_a_loss(tmp_path: Path) -> None:
    one, path = climbing(), tmp_path / "UP-1m.json"
    trade, bar = held(one, path)
    found = again(planted(one, bar + 4, high=1.5, low=0.7), path, trade)
    assert (found.rule, found.bars) == ("STOP_LOSS", 5)
    # The stop is one R below the entry; what comes on top of it are the costs.
    assert found.r == pytest.approx(-1 - found.costs.fees - found.costs.slippage / 2, abs=0.02)


@pytest.mark.usefixtures("unblocked")
def test_a_gap_through_the_stop_fills_at_the_open(tmp_path: Path) -> None:
    one, path = climbing(), tmp_path / "UP-1m.json"
    trade, bar = held(one, path)
    found = again(planted(one, bar + 4, open=0.9, low=0.85), path, trade)
    assert (found.rule, found.bars) == ("STOP_LOSS", 5)
    assert found.net == pytest.approx(0.9 * one.open[bar + 4] / one.close[bar - 1] - 1, abs=0.003)


@pytest.mark.usefixtures("unblocked")
def test_a_target_that_is_jumped_over_earns_no_more_than_the_target(tmp_path: Path) -> None:
    one, path = climbing(), tmp_path / "UP-1m.json"
    trade, bar = held(one, path)
    touched = again(planted(one, bar + 4, high=1.3), path, trade)
    jumped = again(planted(one, bar + 4, open=1.3, high=1.3), path, trade)
    assert touched.rule == jumped.rule == "TAKE_PROFIT"
    assert jumped.r == touched.r


@pytest.mark.usefixtures("unblocked")
@pytest.mark.parametrize("silence", [7_200, 2 * 86_400])
def test_a_position_is_held_over_a_silence_and_meets_what_comes_after(
    silence: int, tmp_path: Path
) -> None:
    one, path = climbing(), tmp_path / "UP-1m.json"
    trade, bar = held(one, path)
    times = np.where(np.arange(len(one)) > bar + 4, one.times + silence, one.times)
    fell = {name: np.where(times > one.times, 0.8, 1.0) * getattr(one, name) for name in PRICES}
    found = again(replace(one, times=times, **fell), path, trade)
    assert (found.rule, found.bars) == ("STOP_LOSS", 6)
    assert found.net == pytest.approx(0.8 * one.open[bar + 5] / one.close[bar - 1] - 1, abs=0.003)


@pytest.mark.usefixtures("unblocked")
def test_a_series_that_is_silent_for_days_has_ended(tmp_path: Path) -> None:
    one, path = climbing(), tmp_path / "UP-1m.json"
    trade, bar = held(one, path)
    times = np.where(np.arange(len(one)) > bar + 4, one.times + ENDED_S, one.times)
    found = again(replace(one, times=times), path, trade)
    assert (found.rule, found.bars) == ("DATA_END", 5)


@pytest.mark.usefixtures("unblocked")
def test_what_is_delisted_is_closed_at_its_last_price_while_the_others_go_on(
    tmp_path: Path,
) -> None:
    one = climbing()
    trade, bar = held(one, tmp_path / "UP-1m.json")
    other = replace(drawn(3), times=one.times[0] + 60 * np.arange(BARS, dtype=np.int64))
    gone = {name: getattr(one, name)[: bar + 5] for name in ("times", *PRICES, "volume")}
    written(tmp_path / "OTHER-1m.json", other)
    written(tmp_path / "UP-1m.json", replace(one, **gone))
    trades = backtest(tmp_path, model=EwmaModel(slope=3.0), universe=False).trades
    found = next(t for t in trades if t.symbol == "UP" and t.at == trade.at)
    assert (found.rule, found.bars) == ("DATA_END", 5)
    assert max(t.at for t in trades) > found.at + 60 * found.bars
