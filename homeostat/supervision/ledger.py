"""The cadence ledger as pure arithmetic: the ticks that were due against the runs on record.

What is expected comes from the timetable alone; the beat's own word is not asked. A tick whose
second effect was refused has one run row, so doubling is seen in two other places: runs for a
moment at which the entry was not due, and repeats that came in a message of their own
(`RepeatKind.PUBLISHED_TWICE`) rather than from the broker handing the same message out again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from homeostat.store.checks import CheckRun
from homeostat.store.timing import RepeatKind, TickRepeat
from homeostat.supervision.cadence import due_between

#: A run that begins later than this after its due time is late, in seconds.
LATE_S = 2.0


@dataclass(frozen=True)
class Account:
    """One entry's account over a window: expected = run on the grid + missed."""

    entry: str
    expected: int
    run: int
    late: int
    missed: int
    doubled: int
    redelivered: int
    missing: tuple[datetime, ...]


@dataclass(frozen=True)
class Due:
    """What the ledger must know of an entry."""

    name: str
    interval_s: float


def accounts(
    entries: Iterable[Due],
    runs: Sequence[CheckRun],
    repeats: Sequence[TickRepeat],
    start: datetime,
    end: datetime,
) -> dict[str, Account]:
    """Return each entry's account for the ticks due in [start, end)."""
    by_entry: dict[str, dict[datetime, CheckRun]] = {}
    for run in runs:
        by_entry.setdefault(run.entry, {})[run.due_at] = run
    again = Counter((one.entry, RepeatKind(one.kind)) for one in repeats)
    return {
        entry.name: _account(entry, by_entry.get(entry.name, {}), again, start, end)
        for entry in entries
    }


def _account(
    entry: Due,
    runs: Mapping[datetime, CheckRun],
    again: Counter[tuple[str, RepeatKind]],
    start: datetime,
    end: datetime,
) -> Account:
    due = list(due_between(entry.name, entry.interval_s, start, end))
    on_grid = set(due)
    missing = tuple(moment for moment in due if moment not in runs)
    late = sum(at in on_grid and lateness_s(run) > LATE_S for at, run in runs.items())
    off_grid = sum(start <= at < end and at not in on_grid for at in runs)
    published_twice = again[entry.name, RepeatKind.PUBLISHED_TWICE]
    return Account(
        entry=entry.name,
        expected=len(due),
        run=len(due) - len(missing),
        late=late,
        missed=len(missing),
        doubled=off_grid + published_twice,
        redelivered=again[entry.name, RepeatKind.REDELIVERED],
        missing=missing,
    )


def lateness_s(run: CheckRun) -> float:
    """Return how many seconds after its due time the run began."""
    return max(0.0, (run.started_at - run.due_at) / timedelta(seconds=1))
