"""The cadence ledger: every tick that the timetable makes due, held against the runs.

What is expected comes from the timetable alone. The beat's own word is not asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from homeostat.store import checks, timing
from homeostat.store.checks import CheckRun
from homeostat.store.timing import RepeatKind
from homeostat.stress.evidence.window import Window
from homeostat.stress.facts import CadenceRow
from homeostat.supervision import cadence
from homeostat.supervision.ledger import LATE_S, lateness_s
from homeostat.supervision.timetable import Entry

#: How many missing due times a row names.
NAMED = 5


def rows(session: Session, entries: Sequence[Entry], window: Window) -> list[CadenceRow]:
    """Return one row per entry, in the timetable's order."""
    by_entry: defaultdict[str, dict[datetime, CheckRun]] = defaultdict(dict)
    # A tick that was due in the window is looked for wherever its run ended up.
    for run in checks.runs_between(session, window.start, window.end):
        by_entry[run.entry][run.due_at] = run
    redelivered = _redelivered(session, window)
    return [_row(entry, by_entry[entry.name], window, redelivered) for entry in entries]


def complete(session: Session, entries: Sequence[Entry], window: Window) -> bool:
    """Return whether every tick that was due in the window, outside of faults, has ended."""
    return not any(row.missed for row in rows(session, entries, window))


def _redelivered(session: Session, window: Window) -> Mapping[tuple[str, datetime], int]:
    """Count, per tick, the repeats that were the broker's and no second firing."""
    counts: defaultdict[tuple[str, datetime], int] = defaultdict(int)
    for repeat in timing.repeats_between(session, window.start, window.end):
        if repeat.kind != RepeatKind.PUBLISHED_TWICE:
            counts[repeat.entry, repeat.due_at] += 1
    return counts


def _row(
    entry: Entry,
    runs: Mapping[datetime, CheckRun],
    window: Window,
    redelivered: Mapping[tuple[str, datetime], int],
) -> CadenceRow:
    due = list(cadence.due_between(entry.name, entry.interval_s, window.start, window.end))
    on_time = set(due)
    missing = [moment for moment in due if moment not in runs]
    outside = [moment for moment in missing if not window.fault_at(moment)]
    late = [at for at, run in runs.items() if at in on_time and lateness_s(run) > LATE_S]
    late_outside = [at for at in late if not window.fault_at(at)]
    doubled = {
        at: extra
        for at, run in runs.items()
        if (extra := run.deliveries - 1 - redelivered.get((entry.name, at), 0)) > 0
    }
    in_fault = sum(extra for at, extra in doubled.items() if window.fault_at(at))
    measured = sorted(lateness_s(run) for at, run in runs.items() if at in on_time)
    return CadenceRow(
        entry=entry.name,
        task=entry.task,
        interval_s=entry.interval_s,
        expected=len(due),
        run=len(runs),
        late=len(late_outside),
        missed=len(outside),
        doubled=sum(doubled.values()) - in_fault,
        overrun=sum(lateness_s(runs[at]) > entry.interval_s for at in late_outside),
        off_grid=sum(at not in on_time for at in runs),
        late_in_fault=len(late) - len(late_outside),
        missed_in_fault=len(missing) - len(outside),
        doubled_in_fault=in_fault,
        lateness_p50_s=measured[len(measured) // 2] if measured else None,
        lateness_max_s=measured[-1] if measured else None,
        due=[moment.isoformat() for moment in outside[:NAMED]],
    )
