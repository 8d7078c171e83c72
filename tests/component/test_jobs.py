"""The outbox: a row once, sent again until it ends, ended once."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from homeostat.clock import utcnow
from homeostat.store import jobs
from homeostat.store.database import reading, transaction
from homeostat.store.jobs import MOST_SENDS, Job, JobState

pytestmark = pytest.mark.usefixtures("store")


def add(natural_key: str | None = None) -> str | None:
    with transaction() as session:
        return jobs.enqueue(
            session, "stress.effect", {"n": 1}, queue="chaos", natural_key=natural_key
        )


def job(job_id: str | None) -> Job:
    with reading() as session:
        found = session.get(Job, job_id)
    assert found is not None
    return found


def make_due(job_id: str | None) -> None:
    with transaction() as session:
        row = session.get(Job, job_id)
        assert row is not None
        row.send_at = utcnow() - timedelta(seconds=1)


def send(job_id: str | None) -> bool:
    with transaction() as session:
        row = session.get(Job, job_id)
        assert row is not None
        return jobs.mark_sent(session, row) is JobState.SENT


def test_one_natural_key_is_one_job() -> None:
    first, second = add("incident-1"), add("incident-1")

    assert first is not None
    assert second is None


def test_a_rolled_back_cause_leaves_no_job() -> None:
    def cause() -> None:
        with transaction() as session:
            jobs.enqueue(session, "stress.effect", {}, queue="chaos")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cause()

    with reading() as session:
        assert jobs.counts(session) == {}


def test_a_sent_job_is_due_again_only_after_its_back_off() -> None:
    job_id = add()
    assert send(job_id)

    with reading() as session:
        assert jobs.due(session, limit=10) == []
    make_due(job_id)
    with reading() as session:
        assert [row.id for row in jobs.due(session, limit=10)] == [job_id]


def test_the_back_off_doubles_with_each_send() -> None:
    job_id = add()
    waits = []
    for _ in range(3):
        before = utcnow()
        assert send(job_id)
        waits.append((job(job_id).send_at - before).total_seconds())
        make_due(job_id)

    assert waits == pytest.approx([5, 10, 20], abs=1)


def test_a_job_sent_too_often_is_quarantined() -> None:
    job_id = add()
    for _ in range(MOST_SENDS):
        assert send(job_id)
        make_due(job_id)

    assert not send(job_id)
    assert job(job_id).state == JobState.QUARANTINED
    with reading() as session:
        assert jobs.due(session, limit=10) == []


def test_two_senders_that_saw_the_same_row_send_it_once() -> None:
    job_id = add()
    seen = job(job_id)
    with transaction() as session:
        first = jobs.mark_sent(session, seen)
    with transaction() as session:
        second = jobs.mark_sent(session, seen)

    assert (first, second) == (JobState.SENT, None)


def test_an_ended_job_is_not_started_again() -> None:
    job_id = add()
    assert job_id is not None
    with transaction() as session:
        assert jobs.start(session, job_id) is not None
        assert jobs.finish(session, job_id)

    with transaction() as session:
        assert jobs.start(session, job_id) is None
        assert not jobs.finish(session, job_id)


def test_a_job_at_long_work_is_not_sent_again_before_its_time_limit() -> None:
    job_id = add()
    assert job_id is not None
    assert send(job_id)
    with transaction() as session:
        assert jobs.start(session, job_id, busy_for=timedelta(minutes=10)) is not None
    after = job(job_id).send_at

    assert after > utcnow() + timedelta(minutes=9)
    make_due(job_id)
    with reading() as session:
        # A worker that was lost with its message: once the limit is over, the job is due again.
        assert [one.id for one in jobs.due(session, limit=10)] == [job_id]


def test_long_work_is_given_back_when_its_worker_has_ended_and_no_other() -> None:
    ended, another, without, done, later = [add() for _ in range(5)]
    with transaction() as session:
        for job_id, holder in (
            (ended, "gone"), (another, "alive"), (without, None), (done, "gone"), (later, "gone")
        ):  # fmt: skip
            assert job_id is not None
            assert jobs.start(session, job_id, busy_for=timedelta(minutes=10), holder=holder)
        assert jobs.finish(session, str(done))
        # Its next round is at its own time, whatever becomes of who did the last.
        assert jobs.put_off(session, str(later), utcnow() + timedelta(hours=1))
    with reading() as session:
        assert sorted(jobs.holders(session)) == ["alive", "gone"]
    with transaction() as session:
        assert jobs.give_back(session, "gone") == 1
    with reading() as session:
        assert [one.id for one in jobs.due(session, limit=10)] == [ended]
        assert jobs.holders(session) == ["alive"]


def test_of_two_workers_with_the_same_message_one_works() -> None:
    job_id = add()
    assert job_id is not None
    worked = []
    barrier = threading.Barrier(2)

    def work(name: str) -> None:
        barrier.wait()
        with transaction() as session:
            if jobs.start(session, job_id) is not None:
                worked.append(name)
                jobs.finish(session, job_id)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(worked) == 1


def test_the_most_urgent_job_is_due_first() -> None:
    with transaction() as session:
        for priority in (1, 10, 5):
            jobs.enqueue(session, "stress.effect", {}, queue="chaos", priority=priority)

    with reading() as session:
        assert [row.priority for row in jobs.due(session, limit=10)] == [10, 5, 1]


def test_only_what_nobody_has_taken_up_yet_is_waited_for() -> None:
    with transaction() as session:
        later = utcnow() + timedelta(hours=1)
        jobs.enqueue(session, "stress.effect", {}, queue="chaos")
        jobs.enqueue(session, "stress.effect", {}, queue="trade", due_at=later)
        taken = jobs.enqueue(session, "stress.effect", {}, queue="upkeep")
        again = jobs.enqueue(session, "stress.effect", {}, queue="checks")
        assert taken is not None
        assert again is not None
        jobs.start(session, taken)
        jobs.start(session, again)
        jobs.put_off(session, again, utcnow())

    with reading() as session:
        found = jobs.waiting(session)

    assert {queue: waits.jobs for queue, waits in found.items()} == {"chaos": 1, "checks": 1}


def test_a_job_put_off_waits_from_the_time_it_was_put_off_to() -> None:
    job_id = add()
    with transaction() as session:
        row = session.get(Job, job_id)
        assert row is not None
        row.created_at -= timedelta(hours=1)
        jobs.put_off(session, row.id, utcnow() - timedelta(seconds=5))

    with reading() as session:
        assert jobs.waiting(session)["chaos"].oldest_s == pytest.approx(5, abs=4)
