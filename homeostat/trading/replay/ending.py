"""How a position ended, and why, in the words that end its decision's sentence."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.store.trading import Order, Position, client_order_id
from homeostat.trading.venue import result_r

_WHY = {
    "TAKE_PROFIT": "its target at {take_profit:.6g} was touched",
    "STOP_LOSS": "its stop at {stop:.6g} was touched",
    "TIME_BARRIER": "it had been held for {bars} bars",
    "PIL_EXIT": "position intelligence called it {label}",
    "NO_RESTING_STOP": "its stop did not rest at the venue",
    "CLOSED_AT_VENUE": "the venue held it no more",
    "FLATTENED": "the venue held it the other way round",
    "ENTRY_REJECTED": "the venue refused its entry",
    "SAFETY_EMERGENCY_SHUTDOWN": "the safety policy was EMERGENCY_SHUTDOWN",
}


def ending(session: Session, decision: str) -> str:
    """Return how and why a position was closed, or that it is open; empty where there is none."""
    position = session.scalar(select(Position).where(Position.decision_id == decision))
    if position is None:
        return ""
    if position.closed_at is None:
        return f"; it is open, {position.label} at a mark of {position.mark:.6g}"
    orders = session.scalars(select(Order.kind).where(Order.decision_id == decision)).all()
    words = _WHY.get(position.exit_rule, "").format(**vars(position))
    because = f" ({words})" if words else ""
    closing = session.get(Order, client_order_id(decision, "CLOSE"))
    price = f" for {closing.price:.6g}" if closing is not None and closing.price else ""
    return (
        f"; it was closed by {position.exit_rule}{because} "
        f"at {position.closed_at:%Y-%m-%d %H:%M:%S} UTC{price} at {result_r(position):+.2f} R "
        f"after {len(orders)} orders"
    )
