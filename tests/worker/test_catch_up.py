"""A tick that was lost and is caught up: run once on a real worker, and over then."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from celery import Celery

from homeostat.clock import utcnow
from homeostat.settings import settings
from homeostat.store import database, jobs
from homeostat.store.checks import CheckRun
from homeostat.store.jobs import Job, JobState
from tests.waiting import wait_until
from tests.worker import rig
from workers import queues
from workers.config import celery_settings
from workers.dispatch import CeleryDispatcher, send_jobs

pytestmark = pytest.mark.usefixtures("sqlite_store", "embedded_broker")
#: A check that needs nothing else, and an upkeep that is no check.
TICKS = {"checks.trading.dynamic_tpsl": queues.CHECKS, "upkeep.sweep": queues.UPKEEP}


def _lost_ticks(due: datetime) -> list[str]:
    with database.transaction() as session:
        found = [
            jobs.enqueue(
                session,
                task,
                {"entry": task, "due_at": due.isoformat(), "interval_s": 60.0, "catch_up": True},
                queue=queue,
            )
            for task, queue in TICKS.items()
        ]
    return [job_id for job_id in found if job_id]


def _states(job_ids: list[str]) -> list[str]:
    with database.reading() as session:
        return [row.state for job_id in job_ids if (row := session.get(Job, job_id))]


def test_a_caught_up_tick_runs_once_and_its_jobs_end() -> None:
    due = utcnow() - timedelta(minutes=1)
    client = Celery("catch-up-test", set_as_current=False)
    client.config_from_object(celery_settings(settings()))
    words = ("worker", "-Q", ",".join(TICKS.values()), "-c", "1", "--without-gossip")
    with rig.celery(*words, app="workers.app"):
        found = [*_lost_ticks(due), *_lost_ticks(due)]
        send_jobs(CeleryDispatcher(client), found)
        wait_until(lambda: set(_states(found)) == {JobState.DONE}, "all have ended", 60)
    client.close()

    with database.reading() as session:
        ran = session.query(CheckRun).filter(CheckRun.passed).all()
        assert sorted(run.entry for run in ran) == sorted(TICKS)
