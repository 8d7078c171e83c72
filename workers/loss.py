"""What a worker's main process does when a pool child is lost: the one incident of it.

A child that is killed (`kill -9`, out of memory) cannot run its task's `on_failure`, and Celery
sends the task again without telling the task class. The main process sees the loss first, so it
reports it, naming the task; when the task has taken as many children with it as it may, it is
poison and is given up.
"""

from __future__ import annotations

import logging

from billiard.einfo import ExceptionWithTraceback
from celery.exceptions import (
    Ignore,
    Reject,
    Retry,
    Terminated,
    TimeLimitExceeded,
    WorkerLostError,
)
from celery.worker import state
from celery.worker.request import Request

from homeostat.errors import HomeostatError
from homeostat.incidents import surroundings
from homeostat.incidents.failure import Failure, Source
from homeostat.store import jobs
from homeostat.store.database import transaction
from workers.reporting import report_or_keep

log = logging.getLogger(__name__)

#: What the pool says of a child that ended, beside the plain loss.
_GONE = (WorkerLostError, SystemExit, KeyboardInterrupt)
#: What is no failure, or one that Celery hands to the task's own `on_failure`.
_TOLD_ELSEWHERE = (TimeLimitExceeded, Terminated, Retry, Ignore, Reject)


class _Memory:
    """Whether the kernel killed for want of memory since it was last asked."""

    def __init__(self) -> None:
        self._kills = surroundings.oom_kills()

    def ran_out(self) -> bool:
        """Tell whether a process of this machine was killed for want of memory meanwhile."""
        before, self._kills = self._kills, surroundings.oom_kills()
        return before is not None and self._kills is not None and self._kills > before


_memory = _Memory()


class WatchedRequest(Request):
    """A request whose failure outside the task's own code is reported."""

    def on_failure(
        self,
        exc_info: object,
        send_failed_event: bool = True,  # noqa: FBT001, FBT002  # Celery's signature
        return_ok: bool = False,  # noqa: FBT001, FBT002  # Celery's signature
    ) -> None:
        """Let Celery requeue or give up, then report what the task could not."""
        error = getattr(exc_info, "exception", None)
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        planned = self._already_cancelled or self._already_revoked or bool(state.should_terminate)
        super().on_failure(exc_info, send_failed_event, return_ok)
        if return_ok or planned or isinstance(error, _TOLD_ELSEWHERE):
            return
        if isinstance(error, _GONE):
            self._report_loss(error)
        elif isinstance(error, BaseException):
            self._report(type(error).__name__, f"The message could not be run: {error}")
            self._give_up(error)

    def _report_loss(self, error: BaseException) -> None:
        how = str(error).split(" Job:")[0] or type(error).__name__
        if _memory.ran_out():
            how += " The kernel killed a process for want of memory just then."
        lost = f"A pool process was lost while it ran {self.task_name}"
        if not self.task.retry_on_worker_lost:
            self._report("PoolChildLostError", f"{lost}; it is not run again. {how}")
        elif self._context.retries < (self.task.max_retries or 0):
            self._report("PoolChildLostError", f"{lost}; it runs again. {how}")
        else:
            times = self._context.retries + 1
            text = f"{self.task_name} took a pool process with it {times} times: given up. {how}"
            self._report("PoisonTaskError", text)
            self._give_up(error)

    def _report(self, kind: str, text: str) -> None:
        failure = Failure.without_frames(
            kind,
            text,
            source=Source.WORKER,
            component=self.task.component or "workers.main",
            task=self.task_name,
        )
        report_or_keep(failure, sighting=f"lost:{self.id}:{self._context.retries}")

    def _give_up(self, error: BaseException) -> None:
        """End the job's row, so that the sweeper does not send the poison again."""
        job_id = (self.kwargs or {}).get("job_id")
        try:
            with transaction() as session:
                self.task.record_failure(session, error, self.kwargs or {})
                if job_id:
                    jobs.finish(session, str(job_id), error=repr(error)[:2000])
        except HomeostatError:
            log.exception("The end of %s (%s) could not be recorded", self.task_name, self.id)
