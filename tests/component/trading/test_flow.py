"""The flow: nine hooks by the canary, entries that fail closed, exits that stay open."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.kernels.governance import FREEZE
from homeostat.settings import settings
from homeostat.store import controls, trading
from homeostat.store.database import transaction
from homeostat.store.trading import (
    Decision,
    Directive,
    HookFiring,
    Order,
    Position,
    Reservation,
    SafetyPolicy,
    UniverseSnapshot,
    client_order_id,
)
from homeostat.trading import flow
from homeostat.trading.market import port
from tests.market_moment import MOMENT


def permit(session: Session, at: datetime, **more: Any) -> None:
    """Give the leave to trade that ai_hfos and self_healing give when all is well."""
    usual: dict[str, Any] = {
        "allow_new_trades": True,
        "reduce_global_risk": False,
        "scale_position_sizes": 1.0,
        "min_confidence": 0.65,
        "max_positions": 8,
        "max_leverage": 20.0,
        "max_concentration": 0.3,
    }
    last = trading.latest_directive(session)
    directive = Directive(
        version=last.version + 1 if last else 1,
        issued_at=at,
        expires_at=at + timedelta(minutes=3),
        mode="NORMAL",
        health="HEALTHY",
        reasons={},
        **usual,
    )
    policy = SafetyPolicy(
        at=at,
        expires_at=at + timedelta(minutes=3),
        policy="ALLOW_ALL",
        overall="healthy",
        targets={},
        actions=[],
    )
    for name, value in more.items():
        setattr(directive if hasattr(directive, name) and name != "policy" else policy, name, value)
    session.add_all([directive, policy])
    registry.find("trading.universe_os").run(session, at)
    session.flush()


def run(session: Session, at: datetime, **more: Any) -> flow.Summary:
    summary = flow.cycle(session, at, settings(), **more)
    assert summary
    return summary


@pytest.mark.usefixtures("store")
def test_the_canary_fires_all_nine_hooks() -> None:
    with transaction() as session:
        firings = flow.canary(session, "run-1")
        assert {one.hook: one.artefact for one in firings if not one.fired} == {}
        assert [one.hook for one in firings] == list(flow.HOOKS)
        assert session.scalar(select(func.count()).select_from(HookFiring)) == 9
    with transaction() as session:
        assert len(flow.canary(session, "run-1")) == 9
        assert session.scalar(select(func.count()).select_from(HookFiring)) == 9
        assert all(one.fired for one in flow.canary(session, "run-2"))
        assert trading.open_positions(session, trading.PAPER) == []


class Unplugged:
    """A subsystem that is there and does nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_args, **_more: None


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize("hook", flow.HOOKS)
@pytest.mark.parametrize("kind", ["idle", "broken"])
def test_an_unplugged_hook_has_not_fired(hook: str, kind: str) -> None:
    def find(name: str) -> Any:
        if name != f"trading.{hook}":
            return registry.find(name)
        if kind == "broken":
            raise ImportError(f"no module named {name}")
        return Unplugged()

    with transaction() as session:
        fired = {one.hook: one.fired for one in flow.canary(session, find=find)}
    assert fired[hook] is False
    assert len(fired) == 9


@pytest.mark.usefixtures("store")
def test_a_permitted_cycle_journals_all_symbols_and_opens_with_resting_stops() -> None:
    now = MOMENT
    with transaction() as session:
        permit(session, now)
        summary = run(session, now)
        assert summary.decisions == 222
        assert 0 < summary.opened <= 8
        assert summary.away == {}
        assert sum(summary.rules.values()) == 222
        rows = session.scalar(select(func.count()).select_from(Decision))
        positions = trading.open_positions(session, trading.PAPER)
        stops = session.scalars(select(Order).where(Order.kind == "STOP")).all()
        assert rows == 222
        assert len(positions) == summary.opened == len(stops)
        assert {one.trigger for one in stops} == {one.stop for one in positions}
        assert all(one.state == "RESTING" and one.reduce_only for one in stops)


@pytest.mark.usefixtures("sqlite_store")
def test_a_position_begins_with_the_barriers_that_were_decided_on_its_side() -> None:
    with transaction() as session:
        for one in opened(session, MOMENT):
            cycle_id = one.decision_id.split(".")[0]
            decided = session.get_one(Decision, (cycle_id, one.symbol))
            assert one.risk_per_unit == pytest.approx(one.entry * decided.stop_loss)
            assert one.side * (one.entry - one.stop) == pytest.approx(one.risk_per_unit)
            reach = one.side * (one.take_profit - one.entry)
            assert reach == pytest.approx(one.entry * decided.take_profit)
            assert (one.trail, one.partial) == (decided.trail, decided.partial)
            assert trading.order_of(session, client_order_id(one.decision_id, "TAKE_PROFIT"))


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("equity", "of_held", "of_others"),
    [
        (10_000.0, "POSITION_ALREADY_OPEN", "MAX_POSITIONS_REACHED"),
        (1.0, "CRITICAL_VIOLATIONS", "CRITICAL_VIOLATIONS"),
    ],
)
def test_a_full_book_denies_what_it_holds_by_that_name_and_a_broken_one_all_alike(
    equity: float, of_held: str, of_others: str
) -> None:
    later = MOMENT + timedelta(minutes=1)
    with transaction() as session:
        held = opened(session, MOMENT)
        for one in held:
            one.stop = one.entry * (1 - one.side * 0.5)
            one.take_profit = one.entry * (1 + one.side * 0.5)
        trading.book_of(session, trading.PAPER).equity = equity
        permit(session, later, max_positions=len(held))
        cycle_id = run(session, later).cycle_id
        asked = select(Decision).where(Decision.cycle_id == cycle_id, Decision.size > 0)
        decided = {one.symbol: one.rule for one in session.scalars(asked)}
        symbols = {one.symbol for one in held}
        assert {decided[one] for one in symbols & decided.keys()} == {of_held}
        assert {decided[one] for one in decided.keys() - symbols} == {of_others}


def sizes_at(scale: float) -> dict[str, float]:
    with transaction() as session:
        permit(session, MOMENT, scale_position_sizes=scale)
        run(session, MOMENT)
        asked = session.scalars(select(Decision).where(Decision.size > 0)).all()
        found = {one.symbol: one.size for one in asked}
        session.rollback()
        return found


@pytest.mark.usefixtures("sqlite_store")
def test_the_directives_scale_is_in_the_size_of_every_entry() -> None:
    usual, careful = sizes_at(1.0), sizes_at(0.6)
    assert careful.keys() == usual.keys() != set()
    assert careful == pytest.approx({symbol: 0.6 * size for symbol, size in usual.items()})


@pytest.mark.usefixtures("store")
def test_a_repeated_tick_decides_nothing_and_orders_nothing() -> None:
    now = MOMENT
    with transaction() as session:
        permit(session, now)
        run(session, now)
        before = session.scalar(select(func.count()).select_from(Order))
    with transaction() as session:
        assert flow.cycle(session, now, settings()) is None
        assert session.scalar(select(func.count()).select_from(Order)) == before


FORBIDDEN = [
    ({"allow_new_trades": False}, "DIRECTIVE_FORBIDS"),
    ({"expires_at": MOMENT - timedelta(days=1)}, "DIRECTIVE_EXPIRED"),
    ({"policy": "NO_NEW_TRADES"}, "SAFETY_NO_NEW_TRADES"),
    ({"policy": "EMERGENCY_SHUTDOWN"}, "SAFETY_EMERGENCY_SHUTDOWN"),
]


def opened(session: Session, at: datetime) -> list[Position]:
    permit(session, at)
    run(session, at)
    found = list(trading.open_positions(session, trading.PAPER))
    assert found
    return found


def touch_all_stops(session: Session) -> None:
    """Move every stop to where the next bar must touch it."""
    for one in trading.open_positions(session, trading.PAPER):
        one.stop = one.mark * (1 + one.side * 0.5)
        one.take_profit = one.mark * (1 + one.side)


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(("more", "rule"), FORBIDDEN)
def test_what_forbids_entries_never_holds_back_an_exit(more: dict[str, Any], rule: str) -> None:
    now = MOMENT
    later = now + timedelta(minutes=1)
    with transaction() as session:
        held = opened(session, now)
        touch_all_stops(session)
        permit(session, later, **more)
        summary = run(session, later)
        assert summary.rules == {rule: 222}
        assert summary.closed == len(held)
        assert trading.open_positions(session, trading.PAPER) == []


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize("switch", [controls.BRAKE, controls.TRADING_PAUSED])
def test_a_switch_blocks_entries_and_no_exit(switch: str) -> None:
    now = MOMENT
    with transaction() as session:
        held = opened(session, now)
        touch_all_stops(session)
        controls.set_on(session, switch, actor="test", reason="drill")
        summary = run(session, now + timedelta(minutes=1))
        assert len(summary.rules) == 1
        assert summary.opened == 0
        assert summary.closed == len(held)


AWAY = {
    "trading.universe_os": "UNIVERSE_AWAY",
    "trading.model_supervisor": "MODEL_SUPERVISOR_AWAY",
    "trading.dynamic_tpsl": "TPSL_AWAY",
    "trading.portfolio_balancer": "PBA_AWAY",
    "trading.retraining_orchestrator": "RETRAINING_AWAY",
    "kernels.governance": "GOVERNANCE_AWAY",
}


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("name", [*AWAY, "trading.position_intelligence"])
def test_a_subsystem_that_is_away_blocks_entries_by_name_and_no_exit(name: str) -> None:
    def find(wanted: str) -> Any:
        if wanted == name:
            raise ModuleNotFoundError(f"No module named {wanted!r}")
        return registry.find(wanted)

    now = MOMENT
    later = now + timedelta(minutes=1)
    with transaction() as session:
        held = opened(session, now)
        touch_all_stops(session)
        permit(session, later)
        summary = run(session, later, find=find)
        assert summary.closed == len(held)
        if name in AWAY:
            assert summary.opened == 0
            assert summary.rules[AWAY[name]] > 0
            assert name in summary.away


@pytest.mark.usefixtures("sqlite_store")
def test_what_governance_refuses_is_not_opened_and_gives_its_room_back() -> None:
    later = MOMENT + timedelta(minutes=1)
    with transaction() as session:
        held = opened(session, MOMENT)
        touch_all_stops(session)
        permit(session, later)
        controls.set_on(session, FREEZE, actor="test", reason="nothing acts by itself")
        summary = run(session, later)
        assert (summary.opened, summary.closed) == (0, len(held))
        assert summary.rules["GOVERNANCE_REFUSED"] > 0
        still = select(func.count()).select_from(Reservation).where(Reservation.state == "HELD")
        assert session.scalar(still) == 0


@pytest.mark.usefixtures("sqlite_store")
def test_an_empty_or_missing_universe_opens_nothing() -> None:
    now = MOMENT
    with transaction() as session:
        permit(session, now)
        for snapshot in session.scalars(select(UniverseSnapshot)):
            session.delete(snapshot)
        session.flush()
        summary = run(session, now)
        assert summary.rules == {"UNIVERSE_MISSING": 222}


@pytest.mark.usefixtures("sqlite_store")
def test_a_stale_market_abstains_on_every_symbol_in_one_digest() -> None:
    now = MOMENT
    old = port.market(settings()).panel(now - timedelta(minutes=9), flow.LOOKBACK)
    with transaction() as session:
        permit(session, now)
        summary = run(session, now, panel=old)
        assert summary.opened == 0
        assert summary.abstained == {"STALE": 222}


@pytest.mark.usefixtures("sqlite_store")
def test_forty_bad_series_abstain_by_type_and_the_others_are_decided() -> None:
    now = MOMENT
    seen = port.market(settings()).panel(now, flow.LOOKBACK)
    close = seen.close.copy()
    close[0:10, :-20] = float("nan")
    close[10:20, -20:-10] = float("nan")
    close[20:30, -1] = float("nan")
    close[30:40] = close[30:40, :1]
    panel = replace(seen, close=close)
    with transaction() as session:
        permit(session, now)
        summary = run(session, now, panel=panel)
    assert summary.abstained == {"CONSTANT": 10, "GAPPED": 10, "STALE": 10, "TOO_SHORT": 10}
    assert summary.decisions == 222
    assert summary.opened > 0


@pytest.mark.usefixtures("sqlite_store")
def test_the_confidence_floor_is_the_directives() -> None:
    now = MOMENT
    with transaction() as session:
        permit(session, now, min_confidence=1.01)
        summary = run(session, now)
        assert summary.opened == 0
        assert summary.rules["CONFIDENCE_FLOOR"] > 0


@pytest.mark.usefixtures("sqlite_store")
def test_a_blocked_side_is_not_opened() -> None:
    now = MOMENT
    with transaction() as session:
        supervisor: Any = registry.find("trading.model_supervisor")
        record = supervisor.observe(session, "ewma", 1_000, 10, {})
        supervisor.judge(session, record)
        permit(session, now)
        run(session, now)
        sides = session.scalars(select(Decision.side).where(Decision.rule == "BIAS_BLOCKED")).all()
        assert set(sides) == {1}
        assert all(one.side == -1 for one in trading.open_positions(session, trading.PAPER))


@pytest.mark.usefixtures("sqlite_store")
def test_a_model_out_of_service_opens_nothing_and_holds_back_no_exit() -> None:
    now = MOMENT
    with transaction() as session:
        held = opened(session, now)
        touch_all_stops(session)
        name = controls.MODEL_DISABLED + "ewma"
        controls.set_on(session, name, actor="test", reason="drill")
        summary = run(session, now + timedelta(minutes=1))
        assert summary.opened == 0
        assert summary.rules["MODEL_DISABLED"] > 0
        assert summary.closed == len(held)
