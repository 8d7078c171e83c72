"""The hourly summary: what each model's outcomes of one hour came to."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import JsonValue
from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from homeostat.store.trading import ModelOutcome, ModelRecord

HOUR = timedelta(hours=1)


def is_due(due_at: datetime) -> bool:
    """Return whether this tick, one a minute, is the hour's first."""
    return due_at.minute == 0


def summary(session: Session, until: datetime) -> dict[str, JsonValue]:
    """Return for each known model its outcomes, wins and mean R of the hour before `until`."""
    won = func.sum(case((ModelOutcome.won, 1), else_=0))
    statement = (
        select(ModelOutcome.model, func.count(), won, func.avg(ModelOutcome.r))
        .where(ModelOutcome.at >= until - HOUR, ModelOutcome.at < until)
        .group_by(ModelOutcome.model)
    )
    known = {model: told for model, *told in session.execute(statement)}
    found: dict[str, JsonValue] = {}
    for record in session.scalars(select(ModelRecord).order_by(ModelRecord.model)):
        count, wins, mean = known.get(record.model, (0, 0, None))
        found[record.model] = {
            "outcomes": int(count),
            "wins": int(wins),
            "mean_r": None if mean is None else float(mean),
            "health": record.health,
            "blocked_side": record.blocked_side,
        }
    return found
