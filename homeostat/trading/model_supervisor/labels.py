"""What became of a signal, once it is known: kept once, and counted in its model's record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, update
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.store.rows import insert_into, read_anew
from homeostat.store.trading import ModelOutcome, ModelRecord

_TABLE: Any = ModelRecord.__table__
_COUNT = (
    update(_TABLE)
    .where(_TABLE.c.model == bindparam("name"))
    .values(
        outcomes=_TABLE.c.outcomes + 1,
        wins=_TABLE.c.wins + bindparam("won"),
        sum_r=_TABLE.c.sum_r + bindparam("r"),
        gross_profit=_TABLE.c.gross_profit + bindparam("gained"),
        gross_loss=_TABLE.c.gross_loss + bindparam("lost"),
    )
)


@dataclass(frozen=True)
class Outcome:
    """A signal's delayed label; `r` is the closed trade's result in units of its risk."""

    decision_id: str
    model: str
    symbol: str
    side: int
    confidence: float
    r: float


def keep(session: Session, outcome: Outcome) -> bool:
    """Keep the label; False where it is known already."""
    row = {**vars(outcome), "won": outcome.r > 0, "at": utcnow()}
    kept = (
        insert_into(session, ModelOutcome)
        .on_conflict_do_nothing()
        .returning(ModelOutcome.decision_id)
    )
    return session.connection().execute(kept, row).first() is not None


def count(session: Session, outcome: Outcome) -> bool:
    """Count the label in its model's record; False where the model has none."""
    r = outcome.r
    told = {"name": outcome.model, "won": int(r > 0), "r": r}
    told |= {"gained": max(r, 0.0), "lost": max(-r, 0.0)}
    read_anew(session, ModelRecord, outcome.model)
    return bool(session.connection().execute(_COUNT, told).rowcount)
