"""What the trading wing forgets: journals and rules in force that are old; never an open book."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.store.trading import (
    Decision,
    DecisionCycle,
    Directive,
    DirectiveAck,
    EquityPoint,
    HookFiring,
    MarketMinute,
    ModelPrediction,
    Position,
    SafetyPolicy,
    UniverseSnapshot,
)

#: The journal is long: 320,000 rows a day. What was opened is kept with its position.
JOURNAL_AGE = timedelta(days=7)
#: Rules in force matter as long as decisions refer to them; snapshots of 30 s are the bulk.
RULES_AGE = timedelta(days=7)
UNIVERSE_AGE = timedelta(days=1)


def forget(session: Session) -> dict[str, int]:
    """Delete what is old in the caller's transaction; returns the rows deleted per table."""
    now = utcnow()
    # A cycle is kept as a whole where a position came from it, so that it can be replayed.
    opened = select(func.substr(Position.decision_id, 1, 36))
    old = select(DecisionCycle.id).where(
        DecisionCycle.due_at < now - JOURNAL_AGE, DecisionCycle.id.not_in(opened)
    )
    last = select(func.max(Directive.version)).scalar_subquery()
    expired = select(Directive.version).where(
        Directive.expires_at < now - RULES_AGE, Directive.version != last
    )
    work: list[tuple[type[Any], ColumnElement[bool]]] = [
        (Decision, Decision.cycle_id.in_(old)),
        (
            DecisionCycle,
            (DecisionCycle.due_at < now - JOURNAL_AGE) & DecisionCycle.id.not_in(opened),
        ),
        (DirectiveAck, DirectiveAck.version.in_(expired)),
        (Directive, Directive.version.in_(expired)),
        (SafetyPolicy, SafetyPolicy.expires_at < now - RULES_AGE),
        (UniverseSnapshot, UniverseSnapshot.expires_at < now - UNIVERSE_AGE),
        # A decision is derived anew from these as long as its journal stands.
        (ModelPrediction, ModelPrediction.at < now - JOURNAL_AGE),
        (MarketMinute, MarketMinute.minute < int((now - JOURNAL_AGE).timestamp()) // 60),
        (EquityPoint, EquityPoint.at < now - RULES_AGE * 4),
        (HookFiring, HookFiring.at < now - RULES_AGE * 4),
    ]
    counts: dict[str, int] = {}
    for model, where in work:
        result: Any = session.execute(
            delete(model).where(where).execution_options(synchronize_session=False)
        )
        counts[model.__tablename__] = int(result.rowcount)
    return counts
