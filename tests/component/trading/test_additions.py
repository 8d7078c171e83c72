"""Adding to a winner: the rules of an entry hold, and what is not filled is not reserved."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.settings import settings
from homeostat.store import trading
from homeostat.store.database import transaction
from homeostat.store.trading import PAPER, Order, Position, Reservation, client_order_id
from homeostat.trading import flow, venue
from homeostat.trading import profit_amplification as pal
from homeostat.trading.flow import additions
from homeostat.trading.flow.floor import Floor
from homeostat.trading.flow.ground import Ground
from homeostat.trading.flow.parties import Parties
from homeostat.trading.market import port
from homeostat.trading.market.panel import Floats
from homeostat.trading.portfolio_balancer import Candidate, Limits, Moves
from homeostat.trading.profit_amplification import (
    Move,
    Proposal,
    Volatility,
    score_of,
    stop_after_add,
)
from tests.component.trading.test_flow import opened, permit
from tests.component.trading.test_portfolio_balancer import wish
from tests.component.trading.test_positions import position as winner
from tests.market_moment import MOMENT

#: What the position itself holds: 1,000 of 10,000 at a risk of 100.
OWN = wish(0, side=1, notional=1_000.0, risk=100.0)


def asked(held: list[Candidate], *, notional: float = 500.0, **more: Any) -> str:
    """Reserve what is held and the position, and return the code of an add to the position."""
    balancer: Any = registry.find("trading.portfolio_balancer")
    equity = more.pop("equity", 10_000.0)
    risk = more.pop("risk", 100.0)
    free = Limits(positions=99, trade_risk=1, total_risk=9, symbol=9, cluster=9, net=9, gross=9)
    with transaction() as session:
        found = balancer.reserve(session, PAPER, [*held, OWN], replace(free, variance=9))
        assert [one.code for one in found] == [""] * (len(held) + 1)
        trading.book_of(session, PAPER).equity = equity
        position = Position(decision_id=OWN.decision_id, book=PAPER, symbol=OWN.symbol, side=1)
        growth = balancer.add(session, position, risk, notional, **more)
        own = session.get_one(Reservation, OWN.decision_id)
        assert (own.notional == 1_000.0 + notional) is (growth.code == "")
        assert (growth.risk, growth.notional) == (100.0, 1_000.0)
        return str(growth.code)


def others(count: int, **more: Any) -> list[Candidate]:
    return [wish(number, **more) for number in range(1, count + 1)]


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("held", "more", "code"),
    [
        (others(7), {}, ""),
        (others(8), {}, "MAX_POSITIONS_REACHED"),
        (others(7, risk=200.0), {"risk": 100.0}, ""),
        (others(7, risk=200.0), {"risk": 100.1}, "TOTAL_RISK_EXCEEDED"),
        ([], {"risk": 200.0}, ""),
        ([], {"risk": 200.1}, "TOTAL_RISK_EXCEEDED"),
        (others(7, risk=200.0), {"equity": 9_999.0}, "CRITICAL_VIOLATIONS"),
        ([], {"notional": 2_000.0}, ""),
        ([], {"notional": 2_000.1}, "SYMBOL_CONCENTRATION"),
        (others(1, side=-1, notional=2_500.0, cluster=0), {"notional": 500.0}, ""),
        (
            others(1, side=-1, notional=2_500.0, cluster=0),
            {"notional": 500.1},
            "CLUSTER_CONCENTRATION",
        ),
        (others(3, side=1, notional=2_000.0), {"notional": 1_000.0}, ""),
        (others(3, side=1, notional=2_000.0), {"notional": 1_000.1}, "NET_EXPOSURE"),
        ([], {"notional": 500.0, "limits": Limits(gross=0.15)}, ""),
        ([], {"notional": 500.1, "limits": Limits(gross=0.15)}, "GROSS_EXPOSURE"),
        ([], {"notional": 500.0, "limits": Limits(leverage=0.15)}, ""),
        ([], {"notional": 500.1, "limits": Limits(leverage=0.15)}, "INSUFFICIENT_MARGIN"),
    ],
)
def test_an_add_meets_each_code_on_one_side_of_its_limit_only(
    held: list[Candidate], more: dict[str, Any], code: str
) -> None:
    assert asked(held, **more) == code


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(("share", "code"), [(1.001, ""), (0.999, "MARGINAL_VARIANCE")])
def test_the_enlarged_position_is_weighed_by_what_it_brings_to_the_variance(
    share: float, code: str
) -> None:
    draw = np.random.default_rng(4).standard_normal((2, 240)) * 0.001
    returns = np.stack([draw[0], draw[0] + 0.2 * draw[1]])
    covariance = np.cov(returns)
    whole, other = 1_500.0 / 10_000, 1_000.0 / 10_000
    added = 60 * (whole**2 * covariance[0, 0] + 2 * whole * other * covariance[0, 1])
    limits = Limits(cluster=9.0, net=9.0, variance=share * added)
    moves = Moves(["S0", "S1"], lambda: returns)
    held = [wish(1, side=1, notional=1_000.0)]
    assert asked(held, limits=limits, moves=moves) == code


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(("together", "code"), [(True, "CLUSTER_CONCENTRATION"), (False, "")])
def test_what_an_add_moves_with_is_read_from_the_present_returns(
    together: bool,  # noqa: FBT001  # either side
    code: str,
) -> None:
    draw = np.random.default_rng(2).standard_normal((2, 240))
    moves = Moves(["S0", "S1"], lambda: np.stack([draw[0], draw[0] if together else draw[1]]))
    limits = Limits(cluster=0.2, variance=9.0)
    assert asked(others(1, notional=1_000.0), limits=limits, moves=moves) == code


@pytest.mark.usefixtures("sqlite_store")
def test_nothing_is_added_to_what_holds_no_reservation() -> None:
    balancer: Any = registry.find("trading.portfolio_balancer")
    stranger = Position(decision_id="c.X", book=PAPER, symbol="X", side=1)
    with transaction() as session:
        assert balancer.add(session, stranger, 1.0, 1.0).code == "CRITICAL_VIOLATIONS"


def swinging(ratio: float) -> Floats:
    """Return closes whose last 15 steps swing by `ratio` of what all 119 do."""
    old, new = 1.0, ratio * math.sqrt(104 / (119 - 15 * ratio**2))
    steps = 0.001 * np.array([old] * 104 + [new] * 15) * np.tile((1, -1), 60)[:119]
    found: Floats = 100 * np.exp(np.cumsum(np.concatenate([np.zeros(80), steps])))
    return found


def proposed(close: Floats, **more: Any) -> Proposal:
    held = winner(**{"mark": 103.0, "confidence": 0.7, "peak_r": 1.5, **more})
    found = additions.propose(held, close, Parties(Session()), "NORMAL")
    assert isinstance(found, Proposal)
    return found


@pytest.mark.parametrize(
    ("ratio", "kind"),
    [
        (0.69, Volatility.LOW),
        (0.71, Volatility.NORMAL),
        (1.49, Volatility.NORMAL),
        (1.51, Volatility.HIGH),
    ],
)
def test_a_quarter_of_an_hour_is_low_or_high_against_two_hours(
    ratio: float, kind: Volatility
) -> None:
    """Sure by 0.7 is rank 30, and half of the last ten steps went up."""
    seen = pal.Sight(1.5, 0.5, 30.0, kind)
    assert proposed(swinging(ratio)).score == pytest.approx(score_of(seen))


@pytest.mark.parametrize(("side", "ups", "trend"), [(1, 10, 1.0), (1, 7, 0.7), (-1, 7, 0.3)])
def test_a_trend_is_the_share_of_the_last_ten_steps_that_went_the_positions_way(
    side: int, ups: int, trend: float
) -> None:
    steps = np.array([-1.0] * 110 + [1.0] * ups + [-1.0] * (10 - ups)) * 0.001
    close = 100 * np.exp(np.cumsum(steps))
    found = proposed(close, side=side, mark=100.0 + 3.0 * side, stop=100.0 - 2.0 * side)
    wild = np.std(np.diff(np.log(close[-120:]))[-15:]) / np.std(np.diff(np.log(close[-120:])))
    kind = Volatility.HIGH if wild > 1.5 else Volatility.NORMAL
    assert found.score == pytest.approx(score_of(pal.Sight(1.5, trend, 30.0, kind)))


@pytest.mark.parametrize(("peak", "given_back"), [(1.5, 0.0), (2.0, 0.25), (0.0, 0.0)])
def test_what_was_given_back_is_a_share_of_the_peak(peak: float, given_back: float) -> None:
    seen = pal.Sight(1.5, 0.5, 30.0, Volatility.NORMAL, given_back)
    found = proposed(swinging(1.0), peak_r=peak)
    assert found.score == pytest.approx(score_of(seen))


class Refuses:
    """A governance that says no."""

    def decide(self, *_args: object, **_more: object) -> Any:
        return SimpleNamespace(allowed=False)


def floor_of(session: Session, at: datetime, *, governance: Any = None) -> Floor:
    def find(name: str) -> Any:
        assumed = governance if name == "kernels.governance" else None
        return assumed or registry.find(name)

    market = port.market(settings())
    listed = {one.symbol: one for one in market.instruments}
    panel = market.panel(at, flow.LOOKBACK)
    return Floor(session, panel, listed, Parties(session, find), Ground.read(session, at))


def small_add(position: Position) -> Proposal:
    return Proposal(Move.ADD, 80.0, 0.1 * position.quantity, position.stop)


def reserved(session: Session, position: Position) -> tuple[float, float, float]:
    own = session.get_one(Reservation, position.decision_id)
    return own.risk, own.notional, own.margin


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("least", "governance", "added"),
    [(5.0, None, True), (1e9, None, False), (5.0, Refuses(), False)],
    ids=["filled", "rejected", "refused"],
)
def test_an_add_that_is_not_filled_leaves_the_reservation_as_it_was(
    least: float,
    governance: Any,
    added: bool,  # noqa: FBT001  # a case of the table above
) -> None:
    now = MOMENT
    with transaction() as session:
        position = opened(session, now)[0]
        floor = floor_of(session, now, governance=governance)
        instrument = replace(floor.listed[position.symbol], min_notional=least)
        before, quantity = reserved(session, position), position.quantity
        assert additions.add(floor, position, small_add(position), instrument) is added
        session.expire_all()
        assert (reserved(session, position) != before) is added
        assert (position.quantity > quantity) is added
        assert position.adds == added
        held = session.get_one(Reservation, position.decision_id)
        assert held.state == "HELD"


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_what_an_add_was_filled_at_leaves_no_more_at_risk_than_the_first_entry(
    share: float,
) -> None:
    """Spread and slippage make the fill dearer than the price that was proposed for."""
    with transaction() as session:
        position = opened(session, MOMENT)[0]
        first = position.risk_per_unit * position.first_quantity
        position.mark = position.entry + 1.5 * position.side * position.risk_per_unit
        floor = floor_of(session, MOMENT)
        quantity = share * position.first_quantity
        stop = stop_after_add(position, quantity, position.mark)
        proposal = Proposal(Move.ADD, 80.0, quantity, stop)
        listed = replace(floor.listed[position.symbol], half_spread=0.001)
        assert additions.add(floor, position, proposal, listed)
        risk = position.side * (position.entry - position.stop) * position.quantity
        assert risk == pytest.approx(first)
        assert venue.resting(session, position) == position.stop
        order = session.get_one(Order, client_order_id(position.decision_id, "ADD1"))
        assert order.slippage > 0
        whole = order.quantity + position.first_quantity
        assert position.quantity == pytest.approx(whole)


@pytest.mark.usefixtures("sqlite_store")
def test_a_stop_that_stays_where_it_was_rests_for_the_whole_after_an_add() -> None:
    with transaction() as session:
        position = opened(session, MOMENT)[0]
        position.mark = position.entry + 1.5 * position.side * position.risk_per_unit
        position.stop = tight = position.mark - 0.01 * position.side * position.risk_per_unit
        floor = floor_of(session, MOMENT)
        assert additions.add(floor, position, small_add(position), floor.listed[position.symbol])
        session.expire_all()
        stop = session.get_one(Order, client_order_id(position.decision_id, "STOP"))
        assert (position.stop, stop.trigger) == (tight, tight)
        assert stop.quantity == position.quantity > position.first_quantity


@pytest.mark.usefixtures("sqlite_store")
def test_a_refused_add_is_asked_for_once_and_not_with_every_bar() -> None:
    now = MOMENT
    with transaction() as session:
        position = opened(session, now)[0]
        floor = floor_of(session, now)
        instrument = replace(floor.listed[position.symbol], min_notional=1e9)
        for _ in range(3):
            assert not additions.add(floor, position, small_add(position), instrument)
        statement = select(func.count()).select_from(Order).where(Order.kind == "ADD1")
        assert session.scalar(statement) == 1


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(("most", "added"), [(8, True), (0, False)])
def test_an_add_obeys_the_directive_in_force_as_an_entry_does(
    most: int,
    added: bool,  # noqa: FBT001  # either side
) -> None:
    now = MOMENT
    with transaction() as session:
        position = opened(session, now)[0]
        permit(session, now, max_positions=most)
        floor = floor_of(session, now)
        instrument = floor.listed[position.symbol]
        assert additions.add(floor, position, small_add(position), instrument) is added
