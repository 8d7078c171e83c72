"""What the safety policy does to open positions: closed, or defended; never choked or forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from homeostat.settings import settings
from homeostat.store import trading
from homeostat.store.database import transaction
from homeostat.store.trading import PAPER, Order, Position, client_order_id
from homeostat.trading import flow
from homeostat.trading.flow.exits import DEFENCE_R, defended
from homeostat.trading.market import port
from tests.component.trading.test_flow import opened, permit, run
from tests.market_moment import MOMENT


def wide(session: Session, at: datetime) -> list[Position]:
    """Open positions with an R of 40 % of the price, so that no bar touches a stop."""
    held = opened(session, at)
    for one in held:
        one.risk_per_unit = 0.4 * one.entry
        one.stop = one.entry * (1 - one.side * 0.4)
        one.take_profit = one.entry * (1 + one.side * 0.8)
    return held


def still_open(held: list[Position]) -> list[Position]:
    """Return those that no other authority has ended meanwhile, for reasons of the bars' own."""
    found = [one for one in held if one.closed_at is None]
    assert found
    return found


def under(session: Session, at: datetime, **more: Any) -> None:
    """Run the minute that ends at `at` under what `more` says of policy and directive."""
    permit(session, at, **more)
    run(session, at)


@pytest.mark.usefixtures("sqlite_store")
def test_a_defensive_exit_brings_the_stop_to_half_an_r_and_never_nearer() -> None:
    now = MOMENT
    with transaction() as session:
        held = wide(session, now)
        best = {one.id: one.stop for one in held}
        for minute in range(1, 5):
            under(session, now + timedelta(minutes=minute), policy="DEFENSIVE_EXIT")
            for one in still_open(held):
                # It follows the price up, and is never loosened when the price comes back.
                tighter = max if one.side > 0 else min
                best[one.id] = tighter(best[one.id], defended(one))
                assert one.stop == pytest.approx(best[one.id])
        assert "STOP_LOSS" not in {one.exit_rule for one in held}
        assert DEFENCE_R == 0.5


@pytest.mark.usefixtures("sqlite_store")
def test_a_stop_that_is_nearer_already_is_left_alone() -> None:
    now = MOMENT
    with transaction() as session:
        held = wide(session, now)
        for one in held:
            one.stop = one.entry * (1 - one.side * 0.1)
        stops = [one.stop for one in held]
        under(session, now + timedelta(minutes=1), policy="DEFENSIVE_EXIT")
        assert [one.stop for one in held] == stops


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    "standing",
    [
        {"policy": "DEFENSIVE_EXIT"},
        {"policy": "DEFENSIVE_EXIT", "reduce_global_risk": True},
        {"reduce_global_risk": True},
    ],
    ids=["tightened", "tightened and reduced", "reduced"],
)
def test_what_safety_has_got_already_holds_back_no_exit_of_a_toxic_position(
    standing: dict[str, Any],
) -> None:
    now = MOMENT
    with transaction() as session:
        held = wide(session, now)
        for one in held:
            # Costs above 30 % of the risk are toxic; the label takes two bars.
            one.costs = 0.31 * one.risk_per_unit * one.first_quantity
        for minute in range(1, 5):
            under(session, now + timedelta(minutes=minute), **standing)
        # Whether others are opened in their place is the market's affair.
        assert all(one.closed_at is not None for one in held)
        assert {one.exit_rule for one in held} == {"PIL_EXIT"}


@pytest.mark.usefixtures("sqlite_store")
def test_what_fills_lost_to_slippage_makes_a_position_toxic() -> None:
    now = MOMENT
    with transaction() as session:
        held = wide(session, now)
        for one in held:
            order = session.get_one(Order, client_order_id(one.decision_id, "ENTRY"))
            order.slippage = 0.31 * one.risk_per_unit * one.first_quantity
        for minute in (1, 2):
            under(session, now + timedelta(minutes=minute))
        assert {one.exit_rule for one in held} == {"PIL_EXIT"}


@pytest.mark.usefixtures("sqlite_store")
def test_a_bar_that_was_seen_before_is_no_second_one_to_say_the_same() -> None:
    now = MOMENT
    panel = port.market(settings()).panel(now + timedelta(minutes=1), flow.LOOKBACK)
    with transaction() as session:
        held = wide(session, now)
        for one in held:
            one.costs = 0.31 * one.risk_per_unit * one.first_quantity
        for tick in (1, 2):
            # The feed has stopped: the second tick sees the first one's bars.
            permit(session, now + timedelta(minutes=tick))
            run(session, now + timedelta(minutes=tick), panel=panel)
            assert {one.exit_rule for one in held} == {""}
            assert {one.label for one in held} == {"SAFE"}
        under(session, now + timedelta(minutes=3))
        assert {one.exit_rule for one in held} == {"PIL_EXIT"}


@pytest.mark.usefixtures("sqlite_store")
def test_a_defensive_exit_halves_as_well_where_the_directive_says_so() -> None:
    now = MOMENT
    with transaction() as session:
        held = wide(session, now)
        for minute in range(1, 4):
            under(
                session,
                now + timedelta(minutes=minute),
                policy="DEFENSIVE_EXIT",
                reduce_global_risk=True,
            )
        standing = still_open(held)
        assert {round(one.quantity / one.first_quantity, 9) for one in standing} == {0.5}
        # The half that was taken does not hold back the stop.
        assert all(one.side * (one.stop - defended(one)) >= 0 for one in standing)


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize("directive", [True, False])
def test_an_emergency_closes_everything_whatever_else_is_wanted(
    directive: bool,  # noqa: FBT001  # either side
) -> None:
    now = MOMENT
    with transaction() as session:
        held = wide(session, now)
        under(
            session,
            now + timedelta(minutes=1),
            policy="EMERGENCY_SHUTDOWN",
            reduce_global_risk=directive,
            allow_new_trades=False,
        )
        assert {one.exit_rule for one in held} == {"SAFETY_EMERGENCY_SHUTDOWN"}
        assert trading.open_positions(session, PAPER) == []
