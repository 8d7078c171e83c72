"""The cadence ledger: which ticks were due, which ran, and which are sent again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from sqlalchemy.orm import Session

from homeostat.store import beat, checks, jobs, timing
from homeostat.store.beat import BeatEntry
from homeostat.supervision import cadence
from homeostat.supervision.ledger import Account, Due, accounts

#: The window of the live ledger.
LEDGER_WINDOW = timedelta(minutes=10)
#: A tick that has not run this long after it was due is lost, in seconds.
GRACE_S = 15.0
#: Ticks are sent again for entries at least this slow: a faster one has its next tick sooner.
CATCH_UP_FROM_S = 20.0


def ledger(session: Session, start: datetime, end: datetime) -> dict[str, Account]:
    """Return the account of every checked entry for the ticks due in [start, end).

    An entry counts only from when its present interval holds.
    """
    runs = checks.runs_between(session, start, end)
    repeats = timing.repeats_between(session, start, end)
    found: dict[str, Account] = {}
    for entry in checked_entries(session):
        since = max(start, entry.since)
        due = Due(entry.name, entry.interval_s)
        mine = [run for run in runs if run.entry == entry.name and run.due_at >= since]
        again = [one for one in repeats if one.due_at >= since]
        found |= accounts([due], mine, again, since, max(since, end))
    return found


def catch_up(session: Session, now: datetime) -> list[str]:
    """Send the newest lost tick of each entry again, each tick at most once.

    Returns the entries. A tick whose late original arrives after all is refused by its key.
    """
    sent = []
    for entry in checked_entries(session):
        if not entry.catch_up or entry.interval_s < CATCH_UP_FROM_S:
            continue
        due = cadence.newest_due(entry.name, entry.interval_s, now - timedelta(seconds=GRACE_S))
        if due < max(entry.since, beating_since(session, now)) or _has_run(
            session, entry.name, due
        ):
            continue
        job = jobs.enqueue(
            session,
            entry.task,
            {
                "entry": entry.name,
                "due_at": due.isoformat(),
                "interval_s": entry.interval_s,
                "catch_up": True,
            },
            queue="checks",
            natural_key=f"catch-up:{entry.name}:{due.isoformat()}",
        )
        if job is not None:
            sent.append(entry.name)
    return sent


def checked_entries(session: Session) -> Sequence[BeatEntry]:
    """Return the entries whose task records its runs: the components' checks."""
    return [entry for entry in beat.timetable(session) if entry.task.startswith("checks.")]


def beating_since(session: Session, now: datetime) -> datetime:
    """Return since when ticks may be expected: the newest gap of a minute without any run."""
    runs = checks.runs_between(session, now - 2 * LEDGER_WINDOW, now)
    dues = sorted(run.due_at for run in runs if not run.entry.startswith(("boot.", "by-hand.")))
    if not dues:
        return now
    since = dues[0]
    for before, after in pairwise(dues):
        if after - before > timedelta(minutes=1):
            since = after
    return since


def _has_run(session: Session, entry: str, due: datetime) -> bool:
    instant = timedelta(microseconds=1)
    return any(run.entry == entry for run in checks.runs_between(session, due, due + instant))
