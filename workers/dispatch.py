"""The Celery implementation of `homeostat.dispatch`, and the sending of job rows."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from typing import Any

from celery import Celery
from kombu import pools
from kombu.exceptions import OperationalError
from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat.clock import new_id
from homeostat.errors import BrokerUnavailableError
from homeostat.incidents.failure import Failure, Severity, Source
from homeostat.incidents.recognition import report
from homeostat.settings import settings
from homeostat.store import jobs
from homeostat.store.database import reading, transaction
from homeostat.store.jobs import MOST_SENDS, Job, JobState
from workers import holder, queues, signing
from workers.depths import waiting

log = logging.getLogger(__name__)

#: A producer that waits longer than this holds up its caller for a hint that can be sent again.
RETRY_POLICY = {"max_retries": 2, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5}
#: A Redis that is silent for so many seconds does not take a message. Without it, one frozen server
#: held a sender up for 140 s.
IMPATIENT = {"socket_timeout": 3, "retry_on_timeout": False}

#: A queue with no more messages than this has lost what was sent to it and did not run.
NEARLY_EMPTY = 10


class CeleryDispatcher:
    """Sends tasks through a Celery app, signed, at the broker's own priority."""

    def __init__(self, app: Celery) -> None:
        self.app = app

    def send(
        self,
        task: str,
        kwargs: dict[str, JsonValue],
        *,
        queue: str | None = None,
        priority: int | None = None,
        expires_s: float | None = None,
    ) -> None:
        """Send one message; raises BrokerUnavailableError where the broker does not take it."""
        task_id = new_id()
        header = signing.sign(settings().secret_key(), task, task_id, kwargs)
        business = queues.DEFAULT_PRIORITY if priority is None else priority
        try:
            self._send(
                task,
                kwargs=kwargs,
                task_id=task_id,
                queue=queue or queues.queue_of(task),
                priority=queues.broker_priority(business, settings().broker),
                expires=expires_s,
                headers={signing.HEADER: header},
            )
        except (OperationalError, ConnectionError, TimeoutError) as error:
            raise BrokerUnavailableError from error

    def _send(self, task: str, **how: Any) -> None:
        """Send over connections that wait less long than those by which messages come."""
        if not queues.is_redis(settings().broker):
            self.app.send_task(task, retry_policy=RETRY_POLICY, **how)
            return
        line = self.app.connection_for_write(transport_options=IMPATIENT)
        with pools.producers[line].acquire(block=True) as producer:
            self.app.send_task(task, producer=producer, retry_policy=RETRY_POLICY, **how)


def send_job(dispatcher: CeleryDispatcher, job: Job) -> None:
    """Send the message of one job: its own arguments and the row's id."""
    dispatcher.send(
        job.task, {**job.kwargs, "job_id": job.id}, queue=job.queue, priority=job.priority
    )


def send_jobs(dispatcher: CeleryDispatcher, job_ids: Iterable[str]) -> int:
    """Send the jobs of those ids that nobody sent yet, and return how many were sent.

    Called after the commit that wrote them. A broker that is away loses nothing: the sweeper
    sends what is left. Stops at the first failure for the same reason.
    """
    sent = 0
    waiting_ids = deque(job_ids)
    while waiting_ids:
        with transaction() as session:
            job = session.get(Job, waiting_ids.popleft())
            state = jobs.mark_sent(session, job) if job else None
            if job and state is JobState.QUARANTINED:
                _report_given_up(session, job)
        # What is done about a job that is given up goes with the others.
        waiting_ids.extend(session.info.get("jobs_to_send", ()))
        if job is None or state is not JobState.SENT:
            continue
        try:
            send_job(dispatcher, job)
        except BrokerUnavailableError:
            with transaction() as session:
                jobs.unmark_sent(session, job)
            break
        sent += 1
    return sent


def _report_given_up(session: Session, job: Job) -> None:
    """Make an incident of a job that is given up: nobody would hear of its row."""
    words = f"A job of {job.task} was given up: it was sent {MOST_SENDS} times and never ended."
    failure = Failure.without_frames(
        "JobGivenUpError", words, source=Source.WORKER, component="workers.main", task=job.task
    )
    report(session, failure, severity=Severity.HIGH, sighting=f"given-up:{job.id}")


def sweep(dispatcher: CeleryDispatcher, *, limit: int = 500) -> int:
    """Send the open jobs again whose time has come, and return how many were sent.

    A job that was sent before may still wait on its queue, so it is sent again only where hardly
    anything waits there that a worker would take before it. What was never sent goes at once.
    Raises BrokerUnavailableError where the broker cannot be asked.
    """
    _give_back_what_the_dead_held()
    with reading() as session:
        backlogs = jobs.backlogs(session)
    sent = 0
    for backlog in backlogs:
        if (
            backlog.again
            and waiting(dispatcher.app, backlog.queue, backlog.priority) > NEARLY_EMPTY
        ):
            continue
        with reading() as session:
            due = [job.id for job in jobs.due(session, limit=limit - sent, backlog=backlog)]
        sent += send_jobs(dispatcher, due)
        if sent >= limit:
            break
    return sent


def _give_back_what_the_dead_held() -> None:
    """Make due what a worker was at that has ended; RabbitMQ hands that out again by itself."""
    if not queues.is_redis(settings().broker):
        return
    with reading() as session:
        gone = [name for name in jobs.holders(session) if holder.has_ended(name)]
    for name in gone:
        with transaction() as session:
            given_back = jobs.give_back(session, name)
        log.info("The worker %s has ended; %d of its jobs are sent again", name, given_back)
