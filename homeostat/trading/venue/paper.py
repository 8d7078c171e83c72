"""The paper venue: fills with fees, funding and slippage, resident stops, one fill per order id.

It behaves as the real one bites: an order below the minimum notional is refused unless it only
reduces; an order sent twice under one id is filled once; a stop is an order of its own that rests
here, and where stop and target are touched within one bar, the stop is taken to be first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from homeostat.errors import HomeostatError
from homeostat.store import trading as store
from homeostat.store.trading import Order, Position
from homeostat.trading.market.panel import BAR_S, Instrument
from homeostat.trading.venue import orders
from homeostat.trading.venue.orders import Wanted
from homeostat.trading.venue.resting import cancel, rest

#: Taker fee of one side (Binance USDT-margined futures, no rebates).
TAKER_FEE = 0.0005
#: Price moves against us by this share of the price besides the half spread.
SLIPPAGE = 0.0001
FUNDING_EVERY = timedelta(hours=8)
#: The time barrier in bars; an extended winner is given twice as long.
HORIZON_BARS = 60


class StopNotRestingError(HomeostatError):
    """The stop of a new position does not rest at the venue; the position was closed again."""


@dataclass(frozen=True)
class Bar:
    """One symbol's bar at a moment."""

    at: datetime
    open: float
    high: float
    low: float
    close: float


@dataclass(frozen=True)
class Closed:
    """A position that was closed, by which rule, and its result in R after costs."""

    position: Position
    rule: str
    r: float


def send(session: Session, position: Position | None, wanted: Wanted) -> Order:
    """Fill a market order and return it, or return it rejected; a repeat returns the first one."""
    return _fill(session, position, wanted)[0]


def _fill(session: Session, position: Position | None, wanted: Wanted) -> tuple[Order, bool]:
    """Return the order, and whether it was filled just now."""
    order, fresh = orders.write(session, position, wanted)
    if fresh:
        filled = wanted.price * (1 + wanted.side * (wanted.instrument.half_spread + SLIPPAGE))
        order.state, order.price = "FILLED", filled
        order.fee = TAKER_FEE * filled * order.quantity
        order.slippage = abs(filled - wanted.price) * order.quantity
    return order, fresh


def advance(
    session: Session, position: Position, bar: Bar, instrument: Instrument
) -> Closed | None:
    """Let one closed bar happen to a position; returns how it was closed, or None."""
    if bar.at <= position.marked_at:
        return None
    _fund(session, position, bar, instrument)
    position.bars += 1
    position.marked_at = bar.at
    exit_ = _touched(position, bar)
    if exit_ is not None:
        rule, price = exit_
        return close(session, position, price, rule, instrument)
    position.mark = bar.close
    _trail(session, position, bar)
    horizon = HORIZON_BARS * (2 if position.advice == "EXTEND_HOLD" else 1)
    if position.bars >= horizon:
        return close(session, position, bar.close, "TIME_BARRIER", instrument)
    return None


def _touched(position: Position, bar: Bar) -> tuple[str, float] | None:
    long = position.side > 0
    against, toward = (bar.low, bar.high) if long else (bar.high, bar.low)
    if position.side * (against - position.stop) <= 0:
        # A bar that opens beyond the stop fills at the open: gaps are not forgiven.
        gapped = position.side * (bar.open - position.stop) <= 0
        return "STOP_LOSS", bar.open if gapped else position.stop
    if position.side * (toward - position.take_profit) >= 0:
        return "TAKE_PROFIT", position.take_profit
    return None


def _trail(session: Session, position: Position, bar: Bar) -> None:
    stop = trailed(position, bar.close)
    if stop is not None:
        move_stop(session, position, stop)


def trailed(position: Position, price: float) -> float | None:
    """Return the tighter stop that a price brings once 1 R is reached, or None."""
    reached = position.side * (price - position.entry) / position.risk_per_unit
    if reached < 1.0:
        return None
    stop = price * (1 - position.side * position.trail)
    return stop if position.side * (stop - position.stop) > 0 else None


def move_stop(session: Session, position: Position, stop: float) -> None:
    """Move the resident stop; it is only ever tightened."""
    if position.side * (stop - position.stop) > 0:
        position.stop = stop
        rest(session, position, "STOP", stop)


def _fund(session: Session, position: Position, bar: Bar, instrument: Instrument) -> None:
    """Charge funding where the bar crossed a funding moment (00:00, 08:00, 16:00 UTC)."""
    period = FUNDING_EVERY.total_seconds()
    if bar.at.timestamp() // period > position.marked_at.timestamp() // period:
        paid = position.side * instrument.funding_rate * position.quantity * bar.open
        position.costs += paid
        store.book_of(session, position.book).equity -= paid


def close(
    session: Session, position: Position, price: float, rule: str, instrument: Instrument
) -> Closed:
    """Close the whole position at about `price`; reduce-only, so it can never open another."""
    reduce(session, position, position.quantity, price, instrument, kind="CLOSE")
    position.closed_at, position.exit_rule, position.mark = position.marked_at, rule, price
    cancel(session, position)
    return Closed(position, rule, result_r(position))


def reduce(
    session: Session,
    position: Position,
    quantity: float,
    price: float,
    instrument: Instrument,
    kind: str,
) -> Order:
    """Take part of a position off at about `price` and book what it earned."""
    wanted = orders.reducing(position, quantity, price, instrument, kind)
    order, fresh = _fill(session, position, wanted)
    if fresh and order.price is not None:
        earned = position.side * (order.price - position.entry) * order.quantity
        position.realised += earned
        position.costs += order.fee
        if kind != "CLOSE":
            position.quantity -= order.quantity
        # The spread is in the price already; only the fee is taken from equity besides.
        store.book_of(session, position.book).equity += earned - order.fee
    return order


def result_r(position: Position) -> float:
    """Return the closed position's result in R after fees and funding."""
    return (position.realised - position.costs) / (position.risk_per_unit * position.first_quantity)


def bar_of(time: float, opened: float, high: float, low: float, close: float) -> Bar:
    """Return a bar from the epoch seconds at which it opened, and its prices."""
    return Bar(datetime.fromtimestamp(time + BAR_S, tz=UTC), opened, high, low, close)
