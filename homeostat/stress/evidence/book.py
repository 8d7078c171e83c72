"""The workload's book over the window: equity, orders by state, positions that were held."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.store.trading import EquityPoint, Order, Position
from homeostat.stress.evidence.window import Window
from homeostat.stress.facts import BookFacts, Point, PositionRow

#: The report names so many positions, the newest; all of them stand in the store.
MOST_POSITIONS = 20


def gather(session: Session, window: Window, book: str) -> BookFacts:
    """Return what the book went through in the window."""
    points = session.scalars(
        select(EquityPoint)
        .where(
            EquityPoint.book == book,
            EquityPoint.at >= window.start,
            EquityPoint.at < window.end,
        )
        .order_by(EquityPoint.at)
    ).all()
    times = [round(window.since_start(point.at), 1) for point in points]
    return BookFacts(
        book=book,
        equity=[Point(t=t, value=one.equity) for t, one in zip(times, points, strict=True)],
        open_positions=[
            Point(t=t, value=one.open_positions) for t, one in zip(times, points, strict=True)
        ],
        orders=_orders(session, window, book),
        positions=_positions(session, window, book),
    )


def _orders(session: Session, window: Window, book: str) -> dict[str, int]:
    counts = session.execute(
        select(Order.kind, Order.state, func.count())
        .where(Order.book == book, Order.created_at >= window.start, Order.created_at < window.end)
        .group_by(Order.kind, Order.state)
        .order_by(Order.kind, Order.state)
    )
    return {f"{kind} {state}": int(count) for kind, state, count in counts}


def _positions(session: Session, window: Window, book: str) -> list[PositionRow]:
    held = session.scalars(
        select(Position)
        .where(
            Position.book == book,
            Position.opened_at < window.end,
            (Position.closed_at.is_(None)) | (Position.closed_at >= window.start),
        )
        .order_by(Position.opened_at.desc())
        .limit(MOST_POSITIONS)
    )
    return [
        PositionRow(
            symbol=one.symbol,
            side=one.side,
            quantity=one.quantity,
            entry=one.entry,
            mark=one.mark,
            label=one.label,
            realised=one.realised,
            exit_rule=one.exit_rule,
        )
        for one in held
    ]
