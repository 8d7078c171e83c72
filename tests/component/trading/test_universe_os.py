"""The universe: each rule from both sides, hysteresis, tiers, modes, and the brake first."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.settings import settings
from homeostat.store import controls, trading
from homeostat.store.database import transaction
from homeostat.testing import check_contract
from homeostat.trading import universe_os
from homeostat.trading.flow.ground import Ground
from homeostat.trading.market import port
from homeostat.trading.market.injectors import FaultKind, MarketFault
from homeostat.trading.market.panel import Instrument, Panel
from homeostat.trading.universe_os import LIMITS, Filtered, Profile, Tier, filter_symbols, tier_of
from tests.conftest import forget_settings

BARS = 120
LIM = LIMITS[Profile.AGGRESSIVE]


def panel_of(*deviations: float, volume: float = 100.0) -> Panel:
    draw = np.random.default_rng(3).standard_normal((len(deviations), BARS))
    draw = (draw - draw.mean(1, keepdims=True)) / draw.std(1, keepdims=True)
    close = 100 * np.exp(np.cumsum(draw * np.array(deviations)[:, None], axis=1))
    now = int(utcnow().timestamp()) // 60 * 60
    times = now - 60 * np.arange(BARS, 0, -1)
    symbols = tuple(f"C{row}USDT" for row in range(len(deviations)))
    return Panel(symbols, times, close, close, close, close, np.full(close.shape, volume))


def listed(panel: Panel, **more: Any) -> list[Instrument]:
    return [Instrument(symbol, base=symbol[:-4], **more) for symbol in panel.symbols]


def rule_of(panel: Panel, **more: Any) -> str:
    return filter_symbols(listed(panel, **more), panel, LIM).excluded.get("C0USDT", "")


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ({}, ""),
        ({"contract": "CURRENT_QUARTER"}, "NOT_TRADING_PERPETUAL"),
        ({"status": "SETTLING"}, "NOT_TRADING_PERPETUAL"),
        ({"age_days": 30.0}, ""),
        ({"age_days": 29.9}, "TOO_YOUNG"),
        ({"half_spread": 0.0010}, ""),
        ({"half_spread": 0.0011}, "WIDE_SPREAD"),
    ],
)
def test_what_the_exchange_says_decides(more: dict[str, Any], rule: str) -> None:
    assert rule_of(panel_of(0.00144), **more) == rule


@pytest.mark.parametrize(
    ("deviation", "rule"),
    [(0.00029, "TOO_CALM"), (0.00032, ""), (0.0078, ""), (0.0083, "TOO_WILD")],
)
def test_the_volatility_band_has_two_ends(deviation: float, rule: str) -> None:
    assert rule_of(panel_of(deviation)) == rule


@pytest.mark.parametrize(("volume", "rule"), [(45.0, "LOW_VOLUME"), (56.0, "")])
def test_thin_symbols_stay_out(volume: float, rule: str) -> None:
    assert rule_of(panel_of(0.00144, volume=volume)) == rule


def test_a_stablecoin_stays_out_by_name() -> None:
    panel = panel_of(0.00144)
    coin = [Instrument("C0USDT", base="USDC")]
    assert filter_symbols(coin, panel, LIM).excluded == {"C0USDT": "STABLECOIN"}


@pytest.mark.parametrize("missing", [slice(-1, None), slice(0, 20)])
def test_a_feed_with_missing_bars_is_stalled(missing: slice) -> None:
    panel = panel_of(0.00144)
    panel.close[0, missing] = np.nan
    assert rule_of(panel) == "STALLED"


def test_a_constant_feed_is_stalled_and_a_moving_one_is_not() -> None:
    panel = panel_of(0.00144)
    panel.close[0, -30:] = panel.close[0, -30]
    assert rule_of(panel) == "STALLED"
    panel.close[0, -1] *= 1.001
    assert rule_of(panel) == ""


@pytest.mark.parametrize(("noise", "kept"), [(0.3, 1), (0.7, 2)])
def test_the_second_of_a_correlated_pair_stays_out(noise: float, kept: int) -> None:
    panel = panel_of(0.00144, 0.00144)
    first, second = panel.log_returns() / 0.00144
    mixed = (first + noise * second) / np.sqrt(1 + noise**2)
    panel.close[1, 1:] = 100 * np.exp(np.cumsum(mixed * 0.00144))
    assert len(filter_symbols(listed(panel), panel, LIM).passed) == kept


def test_222_symbols_are_filtered_within_a_second_and_each_is_accounted_for() -> None:
    market = port.market(settings())
    panel = market.panel(utcnow(), universe_os.LOOKBACK)
    began = time.process_time()
    found = filter_symbols(market.instruments, panel, LIM)
    assert time.process_time() - began < 1.0
    assert len(found.passed) + len(found.excluded) == 222
    assert 50 < len(found.passed) < 222
    assert "USDCUSDT" in found.excluded


@pytest.mark.parametrize(
    ("trades", "wins", "sum_r", "tier"),
    [
        (9, 9, 9.0, Tier.CONDITIONAL),
        (10, 5, 2.0, Tier.CORE),
        (10, 4, 2.0, Tier.EXPANSION),
        (10, 5, 0.1, Tier.EXPANSION),
        (10, 5, 0.0, Tier.CONDITIONAL),
        (10, 5, -2.9, Tier.CONDITIONAL),
        (10, 5, -3.0, Tier.BLACKLIST),
        (10, 2, -0.1, Tier.BLACKLIST),
        (10, 3, -0.1, Tier.CONDITIONAL),
        (10, 5, 1.9, Tier.EXPANSION),
    ],
)
def test_results_earn_the_tier(trades: int, wins: int, sum_r: float, tier: Tier) -> None:
    assert tier_of(trades, wins, sum_r) == tier


def component() -> Any:
    return registry.find("trading.universe_os")


def publish(session: Session, panel: Panel, *passed: str) -> list[str]:
    out = {symbol: "TOO_CALM" for symbol in panel.symbols if symbol not in passed}
    found = Filtered(passed, out)
    snapshot = component().publish(session, found, panel, Profile.AGGRESSIVE)
    return list(snapshot.selected)


@pytest.mark.usefixtures("store")
def test_a_symbol_comes_in_and_goes_out_after_two_filters() -> None:
    panel = panel_of(0.001, 0.001)
    with transaction() as session:
        assert publish(session, panel, "C0USDT") == ["C0USDT"]
        assert publish(session, panel, "C0USDT", "C1USDT") == ["C0USDT"]
        assert publish(session, panel, "C0USDT", "C1USDT") == ["C0USDT", "C1USDT"]
        assert set(publish(session, panel, "C1USDT")) == {"C0USDT", "C1USDT"}
        assert publish(session, panel, "C1USDT") == ["C1USDT"]


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("ago", "members"),
    [(timedelta(hours=4), ["C1USDT"]), (timedelta(hours=3, minutes=59), ["C0USDT"])],
)
def test_from_four_hours_on_the_universe_is_made_anew(ago: timedelta, members: list[str]) -> None:
    panel = panel_of(0.001, 0.001)
    with transaction() as session:
        publish(session, panel, "C0USDT")
        last = trading.latest_universe(session)
        assert last
        last.rebuilt_at = rebuilt_at = utcnow() - ago
        assert publish(session, panel, "C1USDT") == members
        newest = trading.latest_universe(session)
        assert newest
        assert (newest.rebuilt_at > rebuilt_at) is (members == ["C1USDT"])


@pytest.mark.usefixtures("sqlite_store")
def test_a_blacklisted_symbol_never_comes_in() -> None:
    panel = panel_of(0.001)
    with transaction() as session:
        publish(session, panel, "C0USDT")
        for _ in range(10):
            component().record_result(session, "C0USDT", -1.0)
        assert publish(session, panel, "C0USDT") == []
        newest = trading.latest_universe(session)
        assert newest
        assert newest.excluded == {"C0USDT": "BLACKLIST"}


def rules(session: Session, late_s: float = 0.0) -> list[str]:
    at = utcnow() + timedelta(seconds=late_s)
    universe = trading.in_force(session).universe
    return list(component().admit(universe, ["C0USDT", "C1USDT"], at))


@pytest.mark.usefixtures("sqlite_store")
def test_entries_fail_closed_and_the_brake_comes_first() -> None:
    panel = panel_of(0.001, 0.001)
    with transaction() as session:
        assert rules(session) == ["UNIVERSE_MISSING"] * 2
        publish(session, panel, "C0USDT")
        assert rules(session) == ["", "NOT_IN_UNIVERSE"]
        newest = trading.latest_universe(session)
        assert newest
        # Its prices' minute has closed within the last one.
        assert 55 < (newest.expires_at - newest.at).total_seconds() <= 120
        assert rules(session, late_s=121) == ["UNIVERSE_EXPIRED"] * 2
        controls.set_on(session, controls.BRAKE, actor="test", reason="a drill")
        # With a universe that has run out, and nothing else in force, the brake is what is told.
        late = utcnow() + timedelta(seconds=121)
        assert Ground.read(session, late).entry_rule() == "BRAKE"
        controls.lift(session, controls.BRAKE)
        assert Ground.read(session, late).entry_rule() == "SAFETY_POLICY_MISSING"
        publish(session, panel)
        publish(session, panel)
        assert rules(session) == ["UNIVERSE_EMPTY"] * 2


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("mode", "second"), [("OBSERVE", ""), ("ADVISORY", ""), ("ENFORCED", "NOT_IN_UNIVERSE")]
)
def test_only_enforced_really_filters(
    monkeypatch: pytest.MonkeyPatch, mode: str, second: str
) -> None:
    monkeypatch.setenv("HOMEOSTAT_MODE", mode)
    forget_settings()
    with transaction() as session:
        publish(session, panel_of(0.001, 0.001), "C0USDT")
        assert rules(session) == ["", second]


@pytest.mark.usefixtures("sqlite_store")
def test_the_safe_profile_filters_while_its_switch_is_set() -> None:
    with transaction() as session:
        usual = component().run(session, utcnow()).observed
        controls.set_on(session, controls.SAFE_PROFILE, actor="test", reason="a drill")
        component().run(session, utcnow())
        safe = component().run(session, utcnow()).observed
    assert (usual["profile"], safe["profile"]) == (Profile.AGGRESSIVE, Profile.SAFE)
    assert safe["selected"] < usual["selected"]


@pytest.mark.usefixtures("sqlite_store")
def test_a_stalled_feed_fails_the_probe(state_dir: Any) -> None:
    del state_dir
    market = port.market(settings())
    old = int((utcnow() - timedelta(minutes=5)).timestamp())
    with transaction() as session:
        assert component().probe(session).passed
        market.inject(MarketFault(kind=FaultKind.STALL, since=old))
        assert not component().probe(session).passed


@pytest.mark.usefixtures("store")
def test_the_component_keeps_the_contract() -> None:
    with transaction() as session:
        evidence = check_contract(component(), session)
        result = component().run(session, utcnow())
    assert evidence.observed["symbols"] == 222
    assert result.work == 222
    assert 0 < result.observed["selected"] < 222


def test_the_safe_profile_is_stricter_in_every_bound() -> None:
    safe, bold = LIMITS[Profile.SAFE], LIMITS[Profile.EXPERIMENTAL]
    assert safe.age_days > LIM.age_days > bold.age_days
    assert safe.dollar_volume > LIM.dollar_volume > bold.dollar_volume
    assert safe.half_spread < LIM.half_spread < bold.half_spread
