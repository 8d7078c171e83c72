"""Broken infrastructure managers."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from homeostat.kernels.infrastructure_manager import InfrastructureManager
from homeostat.store import figures


class SeesNoLeak(InfrastructureManager):
    def leaks(self, session: Session, now: datetime) -> dict[str, float]:
        del session, now
        return {}


class CallsEverythingALeak(InfrastructureManager):
    def leaks(self, session: Session, now: datetime) -> dict[str, float]:
        since = now - timedelta(minutes=15)
        return dict.fromkeys(figures.subjects(session, "rss_bytes", since), 1e6)


class LooksAtLastYear(InfrastructureManager):
    def leaks(self, session: Session, now: datetime) -> dict[str, float]:
        return super().leaks(session, now + timedelta(days=365))


VARIANTS = {
    "does nothing": SeesNoLeak,
    "returns success": CallsEverythingALeak,
    "stale data stamped now": LooksAtLastYear,
}
