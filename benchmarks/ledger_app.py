"""The beat of the ledger benchmark: the sweeper's tick alone, at its shipped cadence."""

from __future__ import annotations

from collections.abc import Sequence

import beat_schedule
from homeostat.store.beat import SHIPPED, BeatEntry
from workers.beat import HeapScheduler, row_of


class SweepBeat(HeapScheduler):
    """Homeostat's scheduler over the one entry that the ledger needs."""

    def declared(self) -> Sequence[BeatEntry]:
        """Return the sweeper's entry of the shipped timetable."""
        return [row_of(entry, SHIPPED) for entry in beat_schedule.ENTRIES if "sweep" in entry.name]
