"""What was said of adds to a position, in the cycle in which they were wanted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.store.audit import AuditRow
from homeostat.store.trading import Order
from homeostat.trading.replay.derive import CYCLE_LIFE, Cycle, ran_at

ADD = "ADD"


class Adding:
    """One cycle's adds, by decision.

    Positions are managed before a cycle's id is made, so what governance said of an add stands
    between `since`, when the cycle before was run, and that.
    """

    def __init__(self, session: Session, cycle: Cycle, since: datetime | None) -> None:
        self.session, self.cycle, self.since = session, cycle, since
        self.asked: set[str] = set()
        #: Decisions on whose adds no verdict is in a log that reaches as far back.
        self.unlogged: set[str] = set()

    @property
    def tells(self) -> bool:
        """Whether the journal tells what the balancer was shown; an older one does not."""
        return "adds" in self.cycle.told

    def shown(self, decision: str) -> Mapping[str, Any] | bool | None:
        """Return what the balancer was shown; of an older journal, whether an add was filled."""
        self.asked.add(decision)
        if not self.tells:
            return self._sent(decision)
        found: Mapping[str, Any] | None = self.cycle.told["adds"].get(decision)
        return found

    def allowed(self, decision: str) -> bool:
        """Return whether governance let the add go."""
        began, until = self._span()
        statement = select(AuditRow.action, AuditRow.payload).where(
            AuditRow.resource == "trade.add", AuditRow.at >= began, AuditRow.at < until
        )
        for action, payload in self.session.execute(statement):
            if json.loads(payload).get("subject") == decision:
                return bool(action == "governance.allow")
        oldest = self.session.scalar(select(func.min(AuditRow.at)))
        if oldest is not None and oldest <= began:
            self.unlogged.add(decision)
            return False
        # The log of that time is no longer kept; the order itself is what is left.
        return self._sent(decision)

    def _span(self) -> tuple[datetime, datetime]:
        ran = ran_at(self.cycle.row.id)
        return self.since or ran - CYCLE_LIFE, ran + timedelta(milliseconds=1)

    def _sent(self, decision: str) -> bool:
        began, until = self._span()
        statement = select(func.count()).where(
            Order.decision_id == decision,
            Order.kind.startswith(ADD),
            Order.created_at >= began,
            Order.created_at < until,
        )
        return bool(self.session.scalar(statement))
