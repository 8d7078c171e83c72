"""The universe: each rule from both sides, hysteresis, tiers, modes, and the brake first."""

from __future__ import annotations

import time
from dataclasses import replace
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
from homeostat.trading.universe_os import (
    LIMITS,
    Filtered,
    Limits,
    Profile,
    Tier,
    filter_symbols,
    tier_of,
)
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
@pytest.mark.parametrize("profile", Profile)
def test_the_settings_name_the_profile_and_the_switch_outweighs_them(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEOSTAT_UNIVERSE_PROFILE", profile)
    forget_settings()
    with transaction() as session:
        assert component().profile(session) is profile
        controls.set_on(session, controls.SAFE_PROFILE, actor="test", reason="a drill")
        assert component().profile(session) is Profile.SAFE


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


@pytest.mark.parametrize(
    ("profile", "bounds"),
    [
        (Profile.SAFE, (90, 20_000, 0.0003, 0.0040, 0.0005, 0.9)),
        (Profile.AGGRESSIVE, (30, 5_000, 0.0003, 0.0080, 0.0010, 0.9)),
        (Profile.EXPERIMENTAL, (7, 1_000, 0.0001, 0.0200, 0.0030, 0.9)),
    ],
)
def test_the_bounds_of_each_profile(profile: Profile, bounds: tuple[float, ...]) -> None:
    assert tuple(vars(LIMITS[profile]).values()) == bounds


def exact(panel: Panel, **more: float) -> Limits:
    """Return limits of which this panel's only symbol meets each at its very bound."""
    deviation = float(np.nanstd(panel.log_returns()[0]))
    turnover = float(np.median(panel.close[0] * panel.volume[0]))
    usual = {
        "age_days": 30.0,
        "dollar_volume": turnover,
        "volatility_low": deviation,
        "volatility_high": deviation,
        "half_spread": 0.001,
    }
    return Limits(**{**usual, **more})


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("age_days", "TOO_YOUNG"),
        ("dollar_volume", "LOW_VOLUME"),
        ("volatility_low", "TOO_CALM"),
        ("volatility_high", "TOO_WILD"),
        ("half_spread", "WIDE_SPREAD"),
    ],
)
def test_a_bound_that_is_met_lets_in_and_the_next_number_does_not(name: str, rule: str) -> None:
    panel = panel_of(0.00144)
    coin = listed(panel, age_days=30.0, half_spread=0.001)
    limits = exact(panel)
    assert filter_symbols(coin, panel, limits).passed == ("C0USDT",)
    upper = name in {"volatility_high", "half_spread"}
    beyond = float(np.nextafter(getattr(limits, name), 0.0 if upper else np.inf))
    found = filter_symbols(coin, panel, exact(panel, **{name: beyond}))
    assert found.excluded == {"C0USDT": rule}


def test_of_several_rules_the_first_of_the_specifications_order_is_named() -> None:
    """What the exchange says, age, volume, the name of a stablecoin, band, spread, then a stall."""
    panel = panel_of(0.00001, volume=1.0)
    panel.close[0, -1] = np.nan
    faults: list[tuple[dict[str, Any], str]] = [
        ({"contract": "CURRENT_QUARTER"}, "NOT_TRADING_PERPETUAL"),
        ({"age_days": 1.0}, "TOO_YOUNG"),
        ({}, "LOW_VOLUME"),
        ({"base": "USDC"}, "STABLECOIN"),
        ({}, "TOO_CALM"),
        ({"half_spread": 0.1}, "WIDE_SPREAD"),
        ({}, "STALLED"),
    ]
    mended: dict[str, Any] = {}
    for place, (_, rule) in enumerate(faults):
        more = {name: value for fault, _ in faults[place:] for name, value in fault.items()}
        coin = [Instrument("C0USDT", **{"base": "C0", **more})]
        assert filter_symbols(coin, panel, replace(LIM, **mended)).excluded == {"C0USDT": rule}
        mended |= {"LOW_VOLUME": {"dollar_volume": 0.0}, "TOO_CALM": {"volatility_low": 0.0}}.get(
            rule, {}
        )


@pytest.mark.parametrize(("missing", "rule"), [(11, ""), (12, "STALLED"), (13, "STALLED")])
def test_nine_tenths_of_the_bars_have_to_be_there_and_more(missing: int, rule: str) -> None:
    panel = panel_of(0.00144)
    panel.close[0, :missing] = np.nan
    assert rule_of(panel) == rule


@pytest.mark.parametrize(("still", "rule"), [(30, "STALLED"), (29, "")])
def test_a_price_has_stalled_that_did_not_move_in_half_an_hour(still: int, rule: str) -> None:
    panel = panel_of(0.00144)
    panel.close[0, -still:] = panel.close[0, -still] * 1.001
    assert rule_of(panel) == rule


def test_of_two_that_move_as_one_the_more_liquid_stays() -> None:
    panel = panel_of(0.00144, 0.00144)
    panel.close[1] = panel.close[0]
    panel.volume[1] *= 2
    found = filter_symbols(listed(panel), panel, LIM)
    assert found.passed == ("C1USDT",)
    assert found.excluded == {"C0USDT": "CORRELATED"}


def test_turnover_is_the_median_of_the_minutes_and_not_their_mean() -> None:
    panel = panel_of(0.00144, volume=10.0)
    panel.volume[0, :5] = 1e6
    assert rule_of(panel) == "LOW_VOLUME"


@pytest.mark.usefixtures("sqlite_store")
def test_passes_and_failures_count_in_a_row_only() -> None:
    """In, out of it once, back, and out once more: neither is two in a row."""
    panel = panel_of(0.001, 0.001)
    with transaction() as session:
        publish(session, panel, "C0USDT")
        for passed in (["C1USDT"], ["C0USDT"], ["C1USDT"], ["C0USDT"]):
            assert publish(session, panel, *passed) == ["C0USDT"]
        newest = trading.latest_universe(session)
        assert newest
        publish(session, panel, "C0USDT", "C1USDT")
        waiting = trading.latest_universe(session)
        assert waiting
        assert waiting.excluded == {"C1USDT": "NOT_YET"}


def test_the_safe_profile_is_stricter_in_every_bound() -> None:
    safe, bold = LIMITS[Profile.SAFE], LIMITS[Profile.EXPERIMENTAL]
    assert safe.age_days > LIM.age_days > bold.age_days
    assert safe.dollar_volume > LIM.dollar_volume > bold.dollar_volume
    assert safe.half_spread < LIM.half_spread < bold.half_spread
