"""The sweeper: sends what was lost, and never what only waits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psutil
import pytest
from celery import Celery
from sqlalchemy import select

from homeostat.clock import utcnow
from homeostat.errors import BrokerUnavailableError
from homeostat.settings import settings
from homeostat.store import jobs
from homeostat.store.database import migrate, reading, transaction
from homeostat.store.embedded import EmbeddedServer, binary
from homeostat.store.incidents import Incident
from homeostat.store.jobs import Job, JobState
from tests.waiting import wait_until
from workers import holder, queues
from workers.config import celery_settings
from workers.depths import waiting
from workers.dispatch import NEARLY_EMPTY, CeleryDispatcher, send_jobs, sweep


@pytest.fixture
def dispatcher(broker: str) -> CeleryDispatcher:
    del broker
    return _dispatcher()


def _dispatcher() -> CeleryDispatcher:
    migrate()
    app = Celery("sweep-test", set_as_current=False)
    app.config_from_object(celery_settings(settings()))
    return CeleryDispatcher(app)


def add(count: int = 1, *, priority: int = 5) -> list[str]:
    with transaction() as session:
        found = [
            jobs.enqueue(session, "stress.effect", {}, queue=queues.CHAOS, priority=priority)
            for _ in range(count)
        ]
    return [job_id for job_id in found if job_id]


def make_due() -> None:
    with transaction() as session:
        for job in session.query(Job):
            job.send_at = utcnow() - timedelta(seconds=1)


def sends(job_id: str) -> int:
    with reading() as session:
        job = session.get(Job, job_id)
    assert job is not None
    return job.sends


def test_what_was_never_sent_is_sent(dispatcher: CeleryDispatcher) -> None:
    add(3)

    assert sweep(dispatcher) == 3
    assert waiting(dispatcher.app, queues.CHAOS) == 3


def test_a_lost_message_is_sent_again(dispatcher: CeleryDispatcher) -> None:
    job_ids = add(3)
    send_jobs(dispatcher, job_ids)
    with dispatcher.app.connection_for_write() as connection:
        connection.default_channel.queue_purge(queues.CHAOS)
    make_due()

    assert sweep(dispatcher) == 3
    assert waiting(dispatcher.app, queues.CHAOS) == 3


def test_what_waits_on_a_full_queue_is_not_sent_again(dispatcher: CeleryDispatcher) -> None:
    job_ids = add(NEARLY_EMPTY + 1)
    send_jobs(dispatcher, job_ids)
    make_due()

    assert sweep(dispatcher) == 0
    assert waiting(dispatcher.app, queues.CHAOS) == NEARLY_EMPTY + 1


def test_what_was_never_sent_goes_even_to_a_full_queue(dispatcher: CeleryDispatcher) -> None:
    send_jobs(dispatcher, add(NEARLY_EMPTY + 1))
    unsent = add()
    make_due()

    assert sweep(dispatcher) == 1
    assert sends(unsent[0]) == 1


@pytest.fixture
def program() -> Iterator[subprocess.Popen[bytes]]:
    """A program that lives until the test ends it."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_long_work_of_a_worker_that_has_ended_is_sent_at_once_where_the_broker_does_not(
    dispatcher: CeleryDispatcher, broker: str, program: subprocess.Popen[bytes]
) -> None:
    (job_id,) = add()
    send_jobs(dispatcher, [job_id])
    worker, hour = holder.name_of(psutil.Process(program.pid)), timedelta(hours=1)
    with transaction() as session:
        assert jobs.start(session, job_id, busy_for=hour, holder=worker)
    assert sweep(dispatcher) == 0, "it is at it"

    program.kill()
    program.wait()
    # RabbitMQ gives the message of a lost connection to another worker by itself.
    assert sweep(dispatcher) == (1 if broker == "embedded" else 0)


def test_a_sweep_right_after_a_sweep_sends_nothing(dispatcher: CeleryDispatcher) -> None:
    add(3)
    sweep(dispatcher)

    assert sweep(dispatcher) == 0


def test_a_flood_of_idle_work_does_not_hold_up_critical_work(
    embedded_broker: EmbeddedServer,
) -> None:
    del embedded_broker
    dispatcher = _dispatcher()
    send_jobs(dispatcher, add(NEARLY_EMPTY + 1, priority=0))
    critical = add(priority=10)
    with transaction() as session:
        job = session.get(Job, critical[0])
        assert job is not None
        assert jobs.mark_sent(session, job)  # sent, as far as the row knows, and lost
    make_due()

    assert sweep(dispatcher) == 1
    assert sends(critical[0]) == 2


def test_a_broker_that_is_away_counts_no_send() -> None:
    dispatcher = _dispatcher()  # nothing listens on the embedded server's socket
    job_ids = add(2)

    assert send_jobs(dispatcher, job_ids) == 0
    with reading() as session:
        assert jobs.counts(session) == {JobState.PENDING: 2}
    assert [sends(job_id) for job_id in job_ids] == [0, 0]


def test_a_frozen_broker_is_given_up_before_long_and_takes_the_next_message_when_it_goes_on(
    embedded_broker: EmbeddedServer,
) -> None:
    del embedded_broker
    dispatcher = _dispatcher()
    dispatcher.send("stress.effect", {"key": "before"})
    [server] = [one for one in psutil.Process().children() if one.name() == binary().name]
    server.suspend()
    try:
        with ThreadPoolExecutor(1) as pool:
            refusal = pool.submit(dispatcher.send, "stress.effect", {"key": "frozen"})
            # With the patience of those who wait for messages it takes 140 s.
            wait_until(refusal.done, "the sender is refused", 60)
            assert isinstance(refusal.exception(), BrokerUnavailableError)
    finally:
        server.resume()
    before = waiting(dispatcher.app, queues.CHAOS)
    dispatcher.send("stress.effect", {"key": "after"})
    assert waiting(dispatcher.app, queues.CHAOS) > before


def test_a_job_that_is_given_up_is_an_incident_whose_analysis_is_sent(
    embedded_broker: EmbeddedServer,
) -> None:
    del embedded_broker
    dispatcher = _dispatcher()
    (job_id,) = add()
    with transaction() as session:
        session.get_one(Job, job_id).sends = jobs.MOST_SENDS
    make_due()

    assert sweep(dispatcher) == 1, "the analysis, and not the job"
    assert waiting(dispatcher.app, queues.FIX_ANALYSIS) == 1
    with reading() as session:
        assert session.get_one(Job, job_id).state == JobState.QUARANTINED
        incident = session.scalars(select(Incident)).one()
    assert (incident.type, incident.task) == ("JobGivenUpError", "stress.effect")
