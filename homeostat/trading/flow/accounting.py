"""The venue's account beside our book: funding is booked, and the wallet is believed.

Funding is paid by the position that was open then, so it counts in its R. What else the two differ
by (a discount on fees, a liquidation, a trade by hand) has no decision of ours: it is adopted as
it is and said aloud.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.store import trading as store
from homeostat.store.trading import PAPER, Order, Position, VenueIncome
from homeostat.trading.flow.errands import Unit
from homeostat.trading.venue.exchange import Exchange
from homeostat.trading.venue.incomes import FUNDING, TRANSFER, Income
from homeostat.trading.venue.intent import UNSETTLED

log = logging.getLogger(__name__)

#: The venue's lines may come in late and out of order: each look goes back this far.
OVERLAP = timedelta(minutes=10)
#: The first look goes back this far; the venue keeps three months.
FIRST_LOOK = timedelta(days=7)
#: An order's fill stands in the wallet by then.
SETTLED_AFTER = timedelta(seconds=3)
#: A gap of less than this, in the quote currency, is rounding.
ROUNDING = 0.01


def book_incomes(unit: Unit, exchange: Exchange) -> dict[str, float]:
    """Enter what the venue's account lists and we have not; returns the funding by symbol.

    A line is entered once, however often it is told. Raises VenueError.
    """
    with unit() as session:
        newest = session.scalar(select(func.max(VenueIncome.at)))
    since = newest - OVERLAP if newest is not None else utcnow() - FIRST_LOOK
    told = exchange.incomes(since.timestamp())
    booked: dict[str, float] = {}
    if not told:
        return booked
    with unit() as session:
        book = store.book_of(session, PAPER, lock=True)
        known = set(
            session.scalars(
                select(VenueIncome.id).where(VenueIncome.id.in_([one.id for one in told]))
            )
        )
        for one in told:
            if one.id in known:
                continue
            known.add(one.id)
            decision = _funded(session, one) if one.kind == FUNDING else ""
            session.add(_row(one, decision))
            if one.kind == FUNDING:
                book.equity += one.amount
                booked[one.symbol] = booked.get(one.symbol, 0.0) + one.amount
            elif one.kind == TRANSFER:
                # Money paid in is no profit, and money taken out no drawdown.
                book.equity += one.amount
                book.peak_equity += one.amount
    return booked


def _row(one: Income, decision: str) -> VenueIncome:
    return VenueIncome(
        id=one.id,
        kind=one.kind,
        symbol=one.symbol,
        amount=one.amount,
        at=datetime.fromtimestamp(one.at, tz=UTC),
        decision_id=decision,
    )


def _funded(session: Session, one: Income) -> str:
    """Charge funding to the position that was open then; returns its decision, or empty."""
    at = datetime.fromtimestamp(one.at, tz=UTC)
    statement = (
        select(Position)
        .where(
            Position.book == PAPER,
            Position.symbol == one.symbol,
            Position.opened_at <= at,
            or_(Position.closed_at.is_(None), Position.closed_at >= at),
        )
        .order_by(Position.opened_at.desc())
        .limit(1)
    )
    position = session.scalar(statement)
    if position is None:
        return ""
    position.costs -= one.amount
    return position.decision_id


def adopt_equity(unit: Unit, exchange: Exchange) -> float:
    """Set the book to the venue's wallet; returns what the book said beyond it, before.

    Nothing is done while an order is under way: its fill would stand in one of the two alone.
    Raises VenueError.
    """
    with unit() as session:
        before = _quiet_equity(session)
    if before is None:
        return 0.0
    wallet = exchange.balance()
    with unit() as session:
        book = store.book_of(session, PAPER, lock=True)
        if _quiet_equity(session) != before:
            return 0.0
        gap = book.equity - wallet
        if abs(gap) < ROUNDING:
            return 0.0
        traded = session.scalar(
            select(func.count()).select_from(Order).where(Order.book == PAPER, Order.fee > 0)
        )
        book.equity = wallet
        if not traded:
            # A new book begins with what is there, and not with a fall from what it supposed.
            book.peak_equity = wallet
    log.warning("The book said %.2f more than the venue's wallet; the wallet is believed.", gap)
    return gap


def _quiet_equity(session: Session) -> float | None:
    """Return the book's equity, None while an order is under way or was a moment ago."""
    recent = Order.updated_at > utcnow() - SETTLED_AFTER
    busy = select(func.count()).where(
        Order.book == PAPER,
        Order.state.in_(UNSETTLED) | (recent & (Order.fee > 0)),
    )
    if session.scalar(busy):
        return None
    return float(store.book_of(session, PAPER).equity)
