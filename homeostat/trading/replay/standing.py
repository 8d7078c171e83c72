"""What holds of a position by itself, where its life cannot be derived."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.store.trading import ModelOutcome, Order, VenueIncome, client_order_id
from homeostat.trading.replay.lives import Row

_SAME = 1e-9


def standing(session: Session, row: Row) -> tuple[str, str]:
    """Return the first step at which a position, its closing order and its label disagree.

    Fills of an outside venue follow from nothing that we know; what they came to does.
    """
    if (row["closed_at"] is None) != (row["exit_rule"] == ""):
        return "exit", f"exit_rule is {row['exit_rule'] or 'empty'} beside {row['closed_at']}"
    if row["closed_at"] is None:
        return "", ""
    order = session.get(Order, client_order_id(row["decision_id"], "CLOSE"))
    if order is not None and order.state == "FILLED":
        if order.reason and order.reason != row["exit_rule"]:
            return "exit", f"exit_rule is {row['exit_rule']}, and its order says {order.reason}"
        if order.reason and order.price is not None and not _alike(order.price, row["mark"]):
            return "order", f"it was filled at {order.price:.9g}, and closed at {row['mark']:.9g}"
    funded = select(VenueIncome.id).where(VenueIncome.decision_id == row["decision_id"]).limit(1)
    if session.scalar(funded) is not None:
        # Funding may be told of after the end, and is charged all the same.
        return "", ""
    statement = select(ModelOutcome.r).where(ModelOutcome.decision_id == row["decision_id"])
    learnt = session.scalar(statement)
    came_to = (row["realised"] - row["costs"]) / (row["risk_per_unit"] * row["first_quantity"])
    if learnt is not None and not _alike(learnt, came_to):
        return "outcome", f"r was {learnt:.9g}, and its results come to {came_to:.9g}"
    return "", ""


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= _SAME * max(abs(one), abs(other), _SAME)
