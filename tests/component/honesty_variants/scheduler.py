"""Broken schedulers."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from homeostat.kernels.scheduler import BeatStatus, SchedulerKernel


class FindsNothingDue(SchedulerKernel):
    def due(self, session: Session, start: datetime, end: datetime) -> dict[str, list[datetime]]:
        return {name: [] for name in super().due(session, start, end)}


class SaysThatTheBeatIsWell(SchedulerKernel):
    def status(self, session: Session, now: datetime | None = None) -> BeatStatus:
        del session, now
        return BeatStatus(True, "beat@host", 1, 0.0)


class RepeatsTheFirstTimetable(SchedulerKernel):
    def due(self, session: Session, start: datetime, end: datetime) -> dict[str, list[datetime]]:
        # Whatever interval holds now, it goes on with ten seconds.
        ten = timedelta(seconds=10)
        return {
            name: [start + number * ten for number in range(6)]
            for name in super().due(session, start, end)
        }


VARIANTS = {
    "does nothing": FindsNothingDue,
    "returns success": SaysThatTheBeatIsWell,
    "stale data stamped now": RepeatsTheFirstTimetable,
}
