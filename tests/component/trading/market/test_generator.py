"""The generator meets each recorded statistic; the injectors' faults are seen in the panel."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from homeostat.clock import utcnow
from homeostat.errors import MarketDataError
from homeostat.settings import settings
from homeostat.trading.market import generator, port
from homeostat.trading.market.injectors import FAULTS_FILE, FaultKind, MarketFault, inject
from homeostat.trading.market.panel import Panel

SEED = 20_251_123


@pytest.fixture(scope="module")
def panel() -> Panel:
    return generator.panel(SEED)


@pytest.fixture(scope="module")
def measured(panel: Panel) -> generator.Statistics:
    return generator.measure(panel.log_returns())


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(generator.Statistics)])
def test_each_recorded_statistic_is_met_within_a_tenth(
    measured: generator.Statistics, name: str
) -> None:
    assert getattr(measured, name) == pytest.approx(getattr(generator.RECORDED, name), rel=0.10)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_other_seeds_meet_the_statistics_too(seed: int) -> None:
    returns = generator.calibrated_returns(seed, 222, generator.BARS)
    assert generator._distance(generator.measure(returns)) < 0.10


def test_the_measuring_can_fail() -> None:
    plain = np.random.default_rng(1).normal(0, 0.00144, (222, 2_880))
    assert generator._distance(generator.measure(plain)) > 0.5


def test_a_seed_gives_the_same_panel_and_another_seed_another(panel: Panel) -> None:
    again = generator.panel(SEED)
    assert np.array_equal(again.close, panel.close)
    assert not np.array_equal(generator.panel(SEED + 1).close, panel.close)


def test_the_panel_has_222_symbols_with_sound_bars(panel: Panel) -> None:
    assert len(set(panel.symbols)) == 222
    assert (panel.low <= np.minimum(panel.open, panel.close)).all()
    assert (panel.high >= np.maximum(panel.open, panel.close)).all()
    assert (panel.volume > 0).all()


def fault(kind: FaultKind, panel: Panel, **more: object) -> Panel:
    since = int(panel.times[100])
    return inject(panel, MarketFault(kind=kind, since=since, symbols=("BTCUSDT",), **more))


def test_a_crash_takes_its_share_of_the_price_and_touches_no_other(panel: Panel) -> None:
    found = fault(FaultKind.CRASH, panel, depth=0.3)
    assert found.close[0, 100:] == pytest.approx(0.7 * panel.close[0, 100:])
    assert np.array_equal(found.close[0, :100], panel.close[0, :100])
    assert np.array_equal(found.close[1], panel.close[1])


def test_a_gap_ends_and_a_delisting_does_not(panel: Panel) -> None:
    gap = np.isnan(fault(FaultKind.GAP, panel, bars=20).close[0])
    gone = np.isnan(fault(FaultKind.DELISTING, panel).close[0])
    assert np.flatnonzero(gap).tolist() == list(range(100, 120))
    assert np.flatnonzero(gone)[0] == 100
    assert gone[100:].all()


def test_a_flatline_repeats_one_price(panel: Panel) -> None:
    found = fault(FaultKind.FLATLINE, panel, bars=20)
    assert len(set(found.close[0, 100:120])) == 1
    assert found.close[0, 120] == panel.close[0, 120]


def test_the_market_gives_every_reader_the_same_newest_bar() -> None:
    now = utcnow()
    market = port.market(settings())
    first, later = market.panel(now, 60), market.panel(now + timedelta(minutes=1), 60)
    assert port.age_s(first, now) < 60
    assert np.array_equal(first.close[:, 1:], later.close[:, :-1])
    # Where the strip is joined to itself, no price jumps.
    whole = market.panel(now, generator.BARS)
    assert np.abs(whole.log_returns()[0]).max() < 0.05


def test_a_stalled_feed_grows_old(state_dir: Path) -> None:
    state_dir.mkdir(parents=True)
    now = utcnow()
    market = port.market(settings())
    market.inject(MarketFault(kind=FaultKind.STALL, since=int(now.timestamp())))
    assert port.age_s(market.panel(now + timedelta(minutes=9), 60), now) < 60
    assert port.age_s(market.panel(now + timedelta(minutes=9), 60), now + timedelta(minutes=9)) > (
        port.FRESH_S
    )
    market.inject()
    assert port.age_s(market.panel(now + timedelta(minutes=9), 60), now + timedelta(minutes=9)) < 60


def test_a_malformed_list_of_faults_is_named(state_dir: Path) -> None:
    state_dir.mkdir(parents=True)
    (state_dir / FAULTS_FILE).write_text("{")
    with pytest.raises(MarketDataError, match=FAULTS_FILE):
        port.market(settings()).panel(utcnow())


def test_recorded_files_are_replayed(tmp_path: Path) -> None:
    lines = [f"{1_640_995_200 + 60 * i},{100 + i},{101 + i},{99 + i},{100 + i},1" for i in range(9)]
    (tmp_path / "eth.csv").write_text(
        "timestamp,open,high,low,close,volume\n" + "\n".join(lines) + "\n"
    )
    market = port.recorded(tmp_path, tmp_path)
    now = utcnow()
    found = market.panel(now, 9)
    assert sorted(found.close[0].tolist()) == [float(100 + i) for i in range(9)]
    assert port.age_s(found, now) < 60
    assert "recorded" in market.source
