"""Forgetting what nobody needs any more: old runs, and jobs that came to a good end.

A job that failed or was quarantined is kept, because a person may still want to look at it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Delete, delete
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.store.checks import CheckRun
from homeostat.store.jobs import Job, JobState

#: At five checks a second a week is three million rows of runs.
KEEP_RUNS = timedelta(days=7)
KEEP_DONE_JOBS = timedelta(days=7)


def forget(session: Session, now: datetime | None = None) -> dict[str, int]:
    """Delete what is older than its time, and return how many rows of each kind were deleted."""
    now = now or utcnow()
    old_jobs = (Job.state == JobState.DONE, Job.ended_at < now - KEEP_DONE_JOBS)
    return {
        "check_runs": _deleted(session, delete(CheckRun).where(CheckRun.due_at < now - KEEP_RUNS)),
        "jobs": _deleted(session, delete(Job).where(*old_jobs)),
    }


def _deleted(session: Session, statement: Delete) -> int:
    result: Any = session.execute(statement.execution_options(synchronize_session=False))
    return int(result.rowcount)
