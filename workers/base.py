"""The one Task class: what happens around every task's body.

Failure becomes an incident; what a transaction enqueued is sent after its commit; a task that
causes an effect is refused unless its message is signed; a lost worker's task runs again, a
bounded number of times.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from celery import Task
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from homeostat.errors import BrokerUnavailableError, StoreUnavailableError
from homeostat.incidents import spool
from homeostat.incidents.failure import Failure
from homeostat.incidents.recognition import report
from homeostat.settings import settings
from homeostat.store import jobs
from homeostat.store.database import transaction
from homeostat.supervision.check import record_upkeep
from workers import dispatch, signing

log = logging.getLogger(__name__)

#: What is worth trying again: the store or the broker was away for a moment.
TRANSIENT = (StoreUnavailableError, BrokerUnavailableError, OperationalError)


@dataclass
class LongJob:
    """A job at long work; its row ends with the work, or is due again where it says when."""

    task: HomeostatTask
    id: str | None
    again_at: datetime | None = None
    ended: bool = False

    @contextmanager
    def ending(self) -> Iterator[Session]:
        """Open the transaction that records what came of the work, and end the row in it."""
        with self.task.unit_of_work() as session:
            yield session
            if self.id is not None and self.again_at is not None:
                jobs.put_off(session, self.id, self.again_at)
            elif self.id is not None:
                jobs.finish(session, self.id)
        self.ended = True


class HomeostatTask(Task):
    """The base of every task of this project."""

    abstract = True
    Request = "workers.loss:WatchedRequest"
    # A control run shows what is lost without these two.
    acks_late = settings().recovery  # type: ignore[assignment]  # Celery's default is None
    retry_on_worker_lost = settings().recovery  # type: ignore[assignment]  # as above
    max_retries = 3
    #: Seconds until the task of a lost pool child runs again; Celery's default is 180.
    default_retry_delay = 1
    autoretry_for = TRANSIENT if settings().recovery else ()
    retry_backoff = True
    retry_backoff_max = 30
    retry_jitter = True

    #: Whether the task causes an effect that must not be forged.
    signed: ClassVar[bool] = False
    #: The component whose work this is, for its incidents.
    component: ClassVar[str] = ""
    severity: ClassVar[str] = "critical"
    #: The name of the worker's main process, where one runs the task.
    worker: ClassVar[str | None] = None
    #: Failures in a row until they are an incident that is opened.
    fail_after: ClassVar[int] = 1

    def before_start(self, task_id: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Refuse an unsigned message for a task that must be signed."""
        del args
        if self.signed:
            header = (self.request.headers or {}).get(signing.HEADER)
            signing.verify(settings().secret_key(), str(self.name), task_id, kwargs, header)

    @contextmanager
    def unit_of_work(self) -> Iterator[Session]:
        """Open a transaction; after its commit, send the jobs that it enqueued."""
        with transaction() as session:
            yield session
        self._send_jobs(session)

    def _send_jobs(self, session: Session) -> None:
        """Send what a transaction that is committed has enqueued."""
        dispatch.send_jobs(
            dispatch.CeleryDispatcher(self.app), session.info.get("jobs_to_send", ())
        )

    @contextmanager
    def job(self, job_id: str | None) -> Iterator[Session | None]:
        """Open the unit of work of a job's row and end the row with it, in one transaction.

        Gives None where the row has ended already: the message was a repeat. A message without
        a job id (sent by hand) works without a row.
        """
        with self.unit_of_work() as session:
            if job_id is None:
                yield session
            # A control run works without this look, to show what it prevents.
            elif jobs.start(session, job_id) is None and settings().recovery:
                yield None
            else:
                yield session
                jobs.finish(session, job_id)

    @contextmanager
    def long_job(self, job_id: str | None) -> Iterator[LongJob | None]:
        """Do work that is too long for a transaction, under a job's row that ends after it.

        Until the task's hard time limit, or the end of this worker, the sweeper takes the row to be
        at work. Gives None where it has ended already. Work that raises leaves it to `on_failure`.
        """
        if not self._taken_up(job_id):
            yield None
            return
        job = LongJob(self, job_id)
        yield job
        if not job.ended:
            with job.ending():
                pass

    def _taken_up(self, job_id: str | None) -> bool:
        if job_id is None:
            return True
        busy_for = timedelta(seconds=self.time_limit or self.app.conf.task_time_limit)
        with self.unit_of_work() as session:
            return jobs.start(session, job_id, busy_for=busy_for, holder=self.worker) is not None

    def on_success(
        self, retval: object, task_id: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Enter a tick of the timetable in the ledger; a check has entered its own."""
        del retval, task_id, args
        if "entry" not in kwargs or "due_at" not in kwargs:
            return
        try:
            with transaction() as session:
                if not self.component:
                    record_upkeep(session, str(self.name), kwargs)
                # A tick that is caught up is a job, whose task knows ticks only.
                if kwargs.get("catch_up") and (job_id := kwargs.get("job_id")):
                    jobs.finish(session, str(job_id))
        except Exception:
            # The work is done; that its row is missing is shown as a missed tick.
            log.exception("The tick of %s could not be entered", self.name)

    def on_failure(
        self,
        exc: BaseException,
        task_id: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        einfo: object,
    ) -> None:
        """Turn the failure into an incident, with what the task was asked as its context.

        Where the store is away, the failure is kept in the state folder and taken in later; the
        job's row is still open then.
        """
        del args, einfo
        name = str(self.name)
        failure = Failure.from_exception(
            exc, source="task", component=self.component or name, task=name
        )
        how: Any = {"severity": self.severity, "fail_after": self.fail_after}
        try:
            with transaction() as session:
                self.record_failure(session, exc, kwargs)
                report(session, failure, **how)
                # What failed because a server was away stays open, and the sweeper sends it again.
                if (job_id := kwargs.get("job_id")) and not isinstance(exc, TRANSIENT):
                    jobs.finish(session, str(job_id), error=repr(exc)[:2000])
        except Exception:
            log.exception("The failure of task %s (%s) is kept for later", name, task_id)
            spool.keep(failure, **how)
            return
        self._send_jobs(session)

    def record_failure(
        self, session: Session, error: BaseException, kwargs: Mapping[str, Any]
    ) -> None:
        """Let a kind of task record more of its failure, in the incident's transaction."""
