"""Broken clarity frameworks."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.kernels.clarity_framework import ClarityFramework
from homeostat.store.decisions import DecisionRecord, Trust


class CountsNothing(ClarityFramework):
    def note(
        self, session: Session, component: str, *, successes: int, failures: int, now: datetime
    ) -> Trust:
        del session, successes, failures
        return Trust(component=component, successes=0, failures=0, counted_until=now)


class ExplainsEverythingAlike(ClarityFramework):
    def explain(self, session: Session, decision_id: str) -> str:
        super().explain(session, decision_id)
        return "It was done by rule. Its audit row says the same."


class ExplainsAnOlderDecision(ClarityFramework):
    def explain(self, session: Session, decision_id: str) -> str:
        del decision_id
        made = {"component": "x", "action": "y", "subject": "z", "inputs": {}, "rule": "r"}
        older = self.record(session, **made)  # type: ignore[arg-type]  # the fields above
        oldest = session.scalars(select(DecisionRecord).order_by(DecisionRecord.id.desc())).first()
        assert oldest is not None
        older.at = utcnow()
        return super().explain(session, oldest.id)


VARIANTS = {
    "does nothing": CountsNothing,
    "returns success": ExplainsEverythingAlike,
    "stale data stamped now": ExplainsAnOlderDecision,
}
