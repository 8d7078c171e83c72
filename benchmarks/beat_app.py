"""The app of the beat benchmark: one timetable, for our scheduler and for Celery's own.

`BENCHMARK_ENTRIES` and `BENCHMARK_INTERVAL_S` say how many entries fall due how often.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from celery import Celery

from homeostat.settings import settings
from homeostat.store.beat import SHIPPED, BeatEntry
from homeostat.supervision.timetable import Entry
from workers.beat import HeapScheduler, row_of
from workers.config import celery_settings

#: How often each entry falls due, in seconds.
INTERVAL_S = float(os.environ.get("BENCHMARK_INTERVAL_S", "5"))


def entries() -> list[Entry]:
    """Return the timetable of the benchmark."""
    count = int(os.environ.get("BENCHMARK_ENTRIES", "1000"))
    names = (f"benchmark.n{number:05}" for number in range(count))
    return [Entry(name, f"checks.{name}", INTERVAL_S) for name in names]


class OurScheduler(HeapScheduler):
    """Homeostat's scheduler over the benchmark's timetable."""

    def declared(self) -> Sequence[BeatEntry]:
        """Return the benchmark's timetable in place of the shipped one."""
        return [row_of(entry, SHIPPED) for entry in entries()]


app = Celery("beat-benchmark")
app.config_from_object(celery_settings(settings()))
app.conf.beat_schedule = {
    entry.name: {"task": entry.task, "schedule": entry.interval_s} for entry in entries()
}
