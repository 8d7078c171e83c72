"""A trade of the backtest is, to the last digit, the trade that the live flow makes of the bars."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.settings import settings
from homeostat.store.database import transaction
from homeostat.store.trading import (
    Directive,
    ModelRecord,
    Position,
    SafetyPolicy,
    UniverseSnapshot,
)
from homeostat.trading import flow, signals
from homeostat.trading.backtest import Trade, backtest
from homeostat.trading.backtest import run as running
from homeostat.trading.backtest.run import WINDOW
from homeostat.trading.dynamic_tpsl import Policy
from homeostat.trading.market import candles, generator, port
from homeostat.trading.market.panel import BAR_S, Panel, on_grid
from homeostat.trading.signals import EwmaModel
from homeostat.trading.venue.paper import HORIZON_BARS, result_r
from tests.conftest import forget_settings

BARS, LONGEST = 500, 2 * HORIZON_BARS
#: Bars of a run that is followed from its first minute to its last.
RUN = 480


def recorded(path: Path, seed: int) -> Panel:
    """Write one symbol's bars to a file and return them as it will be read."""
    panel = generator.panel(seed, symbols=3, bars=BARS)
    fields = (panel.open, panel.high, panel.low, panel.close, panel.volume)
    rows = [
        [1000 * time, *(float(one[2, bar]) for one in fields)]
        for bar, time in enumerate(panel.times.tolist())
    ]
    path.write_text(json.dumps(rows[1:]))
    (series,) = candles.read_path(path).series
    columns = (series.open, series.high, series.low, series.close, series.volume)
    return Panel((series.symbol,), series.times, *(one[None, :] for one in columns))


def surest(panel: Panel) -> tuple[int, float]:
    """Return after how many bars the model is surest of all the minutes so far, and how sure."""
    found = []
    for end in range(WINDOW, BARS - LONGEST - 2):
        seen = panel.window(max(0, end - flow.LOOKBACK), end)
        at = port.moment_of(int(seen.times[-1]) + BAR_S)
        found.append(float(signals.signals(seen, at, EwmaModel()).confidence[0]))
    return WINDOW + int(np.argmax(found)), max(found)


def allow(session: Session, panel: Panel, floor: float) -> None:
    """Give the leave that the backtest assumes, for as long as the bars last."""
    begin, end = (port.moment_of(int(panel.times[place])) for place in (0, -1))
    span = {"expires_at": end + timedelta(hours=1)}
    directive = Directive(
        version=1, issued_at=begin, mode="NORMAL", health="HEALTHY", reasons={}, **span,
        allow_new_trades=True, reduce_global_risk=False, scale_position_sizes=1.0,
        min_confidence=floor, max_positions=8, max_leverage=20.0, max_concentration=0.3,
    )  # fmt: skip
    policy = SafetyPolicy(
        at=begin, policy="ALLOW_ALL", overall="healthy", targets={}, actions=[], **span
    )
    universe = UniverseSnapshot(
        at=begin, mode="OBSERVE", profile="AGGRESSIVE", rebuilt_at=begin, excluded={},
        selected=list(panel.symbols), **span,
    )  # fmt: skip
    session.add_all([directive, policy, universe])
    session.flush()


def lived(panel: Panel, begin: int, floor: float) -> Trade:
    """Let the live flow decide and manage minute by minute until its position is closed."""
    with transaction() as session:
        allow(session, panel, floor)
        for end in range(begin, begin + LONGEST + 2):
            seen = panel.window(max(0, end - flow.LOOKBACK), end)
            at = port.moment_of(int(seen.times[-1]) + BAR_S)
            assert flow.cycle(session, at, settings(), panel=seen)
            one = session.scalars(select(Position).order_by(Position.opened_at).limit(1)).one()
            if one.closed_at is not None:
                return as_trade(one)
    raise AssertionError("the position was never closed")


def as_trade(one: Position) -> Trade:
    assert one.exit_rule is not None
    net = (one.realised - one.costs) / (one.entry * one.first_quantity)
    opened = int(one.opened_at.timestamp())
    return Trade(
        one.symbol, opened, one.side, one.exit_rule, result_r(one), net, one.bars, one.adds
    )


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize("seed", [3, 4, 9, 11])
def test_the_live_flow_makes_the_same_trade_of_the_same_bars(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "X-1m.json"
    panel = recorded(path, seed)
    begin, floor = surest(panel)
    tested = backtest(path, floor=floor).trades[0]
    monkeypatch.setenv("HOMEOSTAT_MARKET_DATA", str(path))
    forget_settings()
    live = lived(panel, begin, floor)
    same = ("symbol", "side", "rule", "bars", "adds")
    assert [getattr(live, name) for name in same] == [getattr(tested, name) for name in same]
    assert live.at == tested.at
    assert live.r == pytest.approx(tested.r, rel=1e-9)
    assert live.net == pytest.approx(tested.net, rel=1e-9)


def several(folder: Path, seed: int) -> Panel:
    """Write some symbols' bars, each with its own holes, and return them as they will be read."""
    panel = generator.panel(seed, symbols=5, bars=RUN + 1)
    draw = np.random.default_rng(seed)
    for row in range(4):
        fields = (panel.open, panel.high, panel.low, panel.close, panel.volume)
        rows = [
            [1000 * time, *(float(one[row, bar]) for one in fields)]
            for bar, time in enumerate(panel.times.tolist())
            if bar and (row or draw.random() > 0.02)
        ]
        (folder / f"S{row}-1m.json").write_text(json.dumps(rows))
    series = candles.read_path(folder).series
    first = min(int(one.times[0]) for one in series)
    last = max(int(one.times[-1]) for one in series)
    return on_grid(series, np.arange(first, last + BAR_S, BAR_S, dtype=np.int64))


def lived_through(panel: Panel, floor: float) -> list[Trade]:
    """Run the live flow every minute, and let the supervisor judge after each."""
    with transaction() as session:
        allow(session, panel, floor)
        supervisor: Any = registry.find("trading.model_supervisor")
        # Governance has a budget by the hour of the clock, and this run is over in seconds.
        parties = running._find(Policy.VOLATILITY)
        for end in range(WINDOW, len(panel.times)):
            seen = panel.window(max(0, end - flow.LOOKBACK), end)
            at = port.moment_of(int(seen.times[-1]) + BAR_S)
            assert flow.cycle(session, at, settings(), panel=seen, find=parties)
            session.expire_all()
            for record in session.scalars(select(ModelRecord)):
                supervisor.judge(session, record)
        statement = select(Position).where(Position.closed_at.is_not(None))
        return [as_trade(one) for one in session.scalars(statement)]


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize("seed", [3, 8])
def test_all_trades_of_a_run_are_those_of_the_live_flow(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "data"
    home.mkdir()
    panel = several(home, seed)
    found = backtest(home, floor=0.6, universe=False)
    monkeypatch.setenv("HOMEOSTAT_MARKET_DATA", str(home))
    forget_settings()
    # What is open at the last bar is closed by the backtest alone.
    tested = [one for one in found.trades if one.at + BAR_S * one.bars < int(panel.times[-1])]
    live = [one for one in lived_through(panel, 0.6) if one.at < int(panel.times[-1])]
    same = ("symbol", "at", "side", "rule", "bars", "adds")
    tested, live = ([one for one in some if one.rule != "DATA_END"] for some in (tested, live))
    told = [sorted(tuple(getattr(one, name) for name in same) for one in x) for x in (tested, live)]
    assert told[0] == told[1]
    assert len(told[0]) > 8
    results = [sorted((one.at, one.symbol, one.r) for one in some) for some in (tested, live)]
    for (*_, r), (*_, lived_r) in zip(*results, strict=True):
        assert r == pytest.approx(lived_r, rel=1e-9)
    assert found.blocks.get("BIAS_BLOCKED", 0) > 0
