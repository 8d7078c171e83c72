"""Work that is too long for a transaction, under a job's row: busy meanwhile, ended with it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from homeostat.clock import utcnow
from homeostat.store import jobs
from homeostat.store.database import reading, transaction
from homeostat.store.jobs import Job
from tasks.boot import boot_all
from tasks.fix_analysis import remedy

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def job_id() -> str:
    with transaction() as session:
        made = jobs.enqueue(session, "fix_analysis.remedy", {}, queue="fix_analysis")
    assert made is not None
    return made


def row(job_id: str) -> Job:
    with reading() as session:
        return session.get_one(Job, job_id)


def test_it_is_busy_until_its_hard_limit_and_ended_after_the_work(job_id: str) -> None:
    with remedy.long_job(job_id) as job:
        assert job is not None
        left = row(job_id).send_at - utcnow()
        assert row(job_id).state == "pending"
        assert timedelta(0) <= timedelta(seconds=remedy.time_limit) - left < timedelta(minutes=1)
    assert row(job_id).state == "done"


def test_a_repeated_message_finds_it_ended(job_id: str) -> None:
    with remedy.long_job(job_id):
        pass
    with boot_all.long_job(job_id) as again:
        assert again is None


def test_work_that_wants_a_further_round_puts_it_off(job_id: str) -> None:
    later = utcnow() + timedelta(hours=1)
    with remedy.long_job(job_id) as job:
        assert job is not None
        job.again_at = later
    assert (row(job_id).state, row(job_id).send_at) == ("pending", later)


def test_work_that_raises_leaves_the_row_to_whoever_records_the_failure(job_id: str) -> None:
    with pytest.raises(ValueError, match="broken"), remedy.long_job(job_id):
        raise ValueError("broken")
    assert row(job_id).state == "pending"


def ended_with(job_id: str, error: Exception | None = None) -> None:
    """Do a job whose record, another row, is written in the transaction of its end."""
    with remedy.long_job(job_id) as job:
        assert job is not None
        with job.ending() as session:
            jobs.enqueue(session, "x", {}, queue="checks", natural_key="the record")
            if error is not None:
                raise error


def recorded() -> bool:
    with reading() as session:
        return session.query(Job).filter_by(natural_key="the record").count() == 1


def test_its_end_stands_or_falls_with_what_is_recorded(job_id: str) -> None:
    with pytest.raises(ValueError, match="not recorded"):
        ended_with(job_id, ValueError("not recorded"))
    assert (row(job_id).state, recorded()) == ("pending", False)
    ended_with(job_id)
    assert (row(job_id).state, recorded()) == ("done", True)


def test_a_message_without_a_row_is_worked_on_all_the_same() -> None:
    with remedy.long_job(None) as job:
        assert job is not None
