"""Forgets what no decision of a backtest looks at any more, so that it does not grow with time."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from homeostat.store.trading import ModelOutcome, Order, Position, Reservation


def prune(session: Session) -> None:
    """Delete what belongs to closed positions: their orders, reservations and outcomes."""
    session.flush()
    connection = session.connection()
    held = select(Position.decision_id).where(Position.closed_at.is_(None))
    for model in (Order, Reservation, ModelOutcome, Position):
        connection.execute(delete(model).where(model.decision_id.not_in(held)))
