"""What is old and came to a good end is forgotten; what a person may want to see is kept."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from homeostat.clock import utcnow
from homeostat.store import jobs, retention
from homeostat.store.checks import CheckRun
from homeostat.store.database import reading, transaction
from homeostat.store.jobs import Job

pytestmark = pytest.mark.usefixtures("store")


def add_run(days_old: float) -> None:
    due = utcnow() - timedelta(days=days_old)
    run = CheckRun(entry="e", component="c", due_at=due, started_at=due, ended_at=due, passed=True)
    with transaction() as session:
        session.add(run)


def add_job(*, days_old: float, error: str | None) -> str:
    with transaction() as session:
        job_id = jobs.enqueue(session, "t", {}, queue="upkeep")
    assert job_id is not None
    with transaction() as session:
        jobs.finish(session, job_id, error=error)
        session.get_one(Job, job_id, populate_existing=True).ended_at = utcnow() - timedelta(
            days=days_old
        )
    return job_id


def test_runs_and_done_jobs_of_eight_days_ago_go_and_newer_ones_stay() -> None:
    for days in (8, 6):
        add_run(days)
    add_job(days_old=8, error=None)
    kept = add_job(days_old=6, error=None)

    with transaction() as session:
        assert retention.forget(session) == {"check_runs": 1, "jobs": 1}
    with reading() as session:
        assert list(session.scalars(select(Job.id))) == [kept]


def test_a_failed_job_is_kept() -> None:
    failed = add_job(days_old=400, error="ValueError()")

    with transaction() as session:
        retention.forget(session)
    with reading() as session:
        assert list(session.scalars(select(Job.id))) == [failed]
