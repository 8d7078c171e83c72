"""The paper venue: fills, refusals, resident stops, gaps, funding, and one fill per order id."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.store import trading
from homeostat.store.database import transaction
from homeostat.store.trading import Order, Position
from homeostat.trading import venue
from homeostat.trading.flow.opening import _BEGINNING
from homeostat.trading.market.panel import Instrument
from homeostat.trading.venue import Bar
from tests.positions import held_position

START = datetime(2026, 1, 1, 7, 30, tzinfo=UTC)
COIN = Instrument("BTCUSDT", base="BTC", half_spread=0.0002, funding_rate=0.001)


@pytest.fixture
def session() -> Iterator[Session]:
    from homeostat.store.database import migrate

    migrate()
    with transaction() as opened:
        yield opened


def send(session: Session, position: Position | None, **more: object) -> Order:
    usual: dict[str, Any] = {"decision": "c.BTC", "book": "paper", "instrument": COIN}
    usual["kind"] = "ENTRY"
    usual |= {"side": 1, "quantity": 1.0, "price": 100.0}
    return venue.send(session, position, venue.Wanted(**{**usual, **more}))


def hold(session: Session, side: int = 1) -> Position:
    position = held_position(
        decision_id="c.BTC",
        cluster=0,
        side=side,
        stop=100.0 - 2 * side,
        take_profit=100.0 + 4 * side,
        costs=0.0,
        marked_at=START,
        opened_at=START,
    )
    for name, value in _BEGINNING.items():
        setattr(position, name, value)
    session.add(position)
    session.flush()
    venue.rest(session, position, "STOP", position.stop)
    return position


def bar(minute: int, low: float, high: float, opened: float = 100.0, close: float = 100.0) -> Bar:
    return Bar(START + timedelta(minutes=minute), opened, high, low, close)


def test_a_fill_costs_fee_spread_and_slippage(session: Session) -> None:
    order = send(session, None)
    assert order.state == "FILLED"
    assert order.price == pytest.approx(100 * (1 + 0.0002 + venue.SLIPPAGE))
    assert order.fee == pytest.approx(0.0005 * float(order.price or 0))
    short = send(session, None, decision="d", side=-1)
    assert float(short.price or 0) < 100


def test_an_order_sent_twice_under_one_id_is_filled_once(session: Session) -> None:
    first, second = send(session, None), send(session, None, price=50.0)
    assert first is second
    assert session.scalar(select(func.count()).select_from(Order)) == 1


@pytest.mark.parametrize(("quantity", "state"), [(0.05, "FILLED"), (0.0499, "REJECTED")])
def test_the_minimum_notional_is_checked_here(
    session: Session, quantity: float, state: str
) -> None:
    assert send(session, None, quantity=quantity).state == state


def test_reduce_only_is_exempt_from_the_minimum_and_never_opens(session: Session) -> None:
    position = hold(session)
    tiny = send(session, position, kind="A", side=-1, quantity=0.001, reduce_only=True)
    assert tiny.state == "FILLED"
    much = send(session, position, kind="B", side=-1, quantity=99.0, reduce_only=True)
    assert much.quantity == 10.0
    same_way = send(session, position, kind="C", side=1, quantity=1.0, reduce_only=True)
    nothing = send(session, None, kind="D", side=-1, quantity=1.0, reduce_only=True)
    assert (same_way.state, nothing.state) == ("REJECTED", "REJECTED")


@pytest.mark.parametrize("side", [1, -1])
def test_stop_and_target_are_touched_from_their_sides(session: Session, side: int) -> None:
    position = hold(session, side)
    near = sorted((100 - 1.9 * side, 100 + 3.9 * side))
    assert venue.advance(session, position, bar(1, *near), COIN) is None
    both = sorted((100 - 2.1 * side, 100 + 4.1 * side))
    closed = venue.advance(session, position, bar(2, *both), COIN)
    assert closed
    assert closed.rule == "STOP_LOSS"
    assert closed.r == pytest.approx(-1.0, abs=0.08)
    assert venue.resting(session, position) is None


def test_a_target_alone_is_taken(session: Session) -> None:
    closed = venue.advance(session, hold(session), bar(1, 99.0, 104.1), COIN)
    assert closed
    assert closed.rule == "TAKE_PROFIT"
    assert closed.r == pytest.approx(2.0, abs=0.1)


def test_a_gap_beyond_the_stop_fills_at_the_open(session: Session) -> None:
    closed = venue.advance(session, hold(session), bar(1, 89.0, 91.0, opened=90.0), COIN)
    assert closed
    assert closed.r == pytest.approx(-5.0, abs=0.1)


def test_a_bar_happens_once(session: Session) -> None:
    position = hold(session)
    venue.advance(session, position, bar(1, 99, 101), COIN)
    assert venue.advance(session, position, bar(1, 1, 999), COIN) is None
    assert position.bars == 1


def test_the_trail_begins_at_one_r_and_only_tightens(session: Session) -> None:
    position = hold(session)
    venue.advance(session, position, bar(1, 99.5, 102, close=101.9), COIN)
    assert position.stop == 98.0
    venue.advance(session, position, bar(2, 101.5, 103, opened=101.9, close=102.5), COIN)
    assert position.stop == pytest.approx(102.5 * 0.99)
    assert venue.resting(session, position) == position.stop
    venue.move_stop(session, position, 50.0)
    assert position.stop == pytest.approx(102.5 * 0.99)


def test_funding_is_charged_where_a_bar_crosses_its_moment(session: Session) -> None:
    position = hold(session)
    venue.advance(session, position, bar(29, 99, 101), COIN)
    assert position.costs == 0.0
    venue.advance(session, position, bar(30, 99, 101), COIN)
    assert position.costs == pytest.approx(0.001 * 10 * 100)


@pytest.mark.parametrize(("advice", "last"), [("HOLD", 60), ("EXTEND_HOLD", 120)])
def test_the_time_barrier_closes_what_had_its_chance(
    session: Session, advice: str, last: int
) -> None:
    position = hold(session)
    position.advice = advice
    for minute in range(1, last):
        assert venue.advance(session, position, bar(minute, 99, 101), COIN) is None
    closed = venue.advance(session, position, bar(last, 99, 101), COIN)
    assert closed
    assert closed.rule == "TIME_BARRIER"


def test_a_part_is_taken_once_and_booked(session: Session) -> None:
    position = hold(session)
    before = trading.book_of(session, "paper").equity
    for _ in range(2):
        venue.reduce(session, position, 5.0, 104.0, COIN, "PARTIAL")
    assert position.quantity == 5.0
    assert trading.book_of(session, "paper").equity - before == pytest.approx(20.0, abs=1.0)
