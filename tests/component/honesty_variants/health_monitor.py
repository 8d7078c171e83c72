"""Broken health monitors."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from homeostat.component import Evidence
from homeostat.kernels.health_monitor import HealthMonitor
from homeostat.supervision.ledger import Account


class CountsNothing(HealthMonitor):
    def ledger(self, session: Session, start: datetime, end: datetime) -> dict[str, Account]:
        found = super().ledger(session, start, end)
        return {name: Account(name, 0, 0, 0, 0, 0, 0, ()) for name in found}


class SaysThatAllTicksRan(HealthMonitor):
    def ledger(self, session: Session, start: datetime, end: datetime) -> dict[str, Account]:
        found = super().ledger(session, start, end)
        return {n: replace(one, run=one.expected, missed=0) for n, one in found.items()}


class ReportsTheHourBefore(HealthMonitor):
    def ledger(self, session: Session, start: datetime, end: datetime) -> dict[str, Account]:
        hour = timedelta(hours=1)
        return super().ledger(session, start - hour, end - hour)


class ClaimsWithoutLooking(HealthMonitor):
    def probe(self, session: Session) -> Evidence:
        del session
        return Evidence(claim="all is well", passed=True)


VARIANTS = {
    "does nothing": CountsNothing,
    "returns success": SaysThatAllTicksRan,
    "stale data stamped now": ReportsTheHourBefore,
    "evidence without observation": ClaimsWithoutLooking,
}
