"""One run of a Celery task: the message that it came from, and the ends that no signal tells of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from celery import Task
from celery.app.task import Context
from celery.exceptions import WorkerLostError
from celery.worker import state
from celery.worker.request import Request

from homeostat.clock import new_id

#: What the pool says of a process that ended.
_GONE = (WorkerLostError, SystemExit, KeyboardInterrupt)


class Listener(Protocol):
    """Hears of failed tasks: by Celery's signal, which leaves the task's id in `told`, or here."""

    told: str

    def lost(self, task: Task, error: BaseException) -> None:
        """Hear of a process that was lost with a task, of which no signal told."""


def mark(properties: dict[str, Any], **_: object) -> None:
    """Give a message that is sent an identity (AMQP's `message_id`), where it has none."""
    properties.setdefault("message_id", new_id())


def run_of(request: Context | Mapping[str, Any], task_id: str) -> str:
    """Name the run of a task: the same when its message is delivered again, not when sent again.

    A task's id says less, because an application may choose it and use it again. A message that
    was sent without `mark` is told by the tag that the broker's transport gave it, which on
    RabbitMQ is only a number of the connection's: there the task's id has to do.
    """
    known = request if isinstance(request, Mapping) else vars(request)
    if known.get("is_eager"):
        return new_id()
    properties = known.get("properties") or {}
    tag = properties.get("message_id") or properties.get("delivery_tag")
    attempt = f"{task_id}:{known.get('retries') or 0}"
    return f"{tag}:{attempt}" if isinstance(tag, str) else attempt


def watched(request: type[Request], listener: Listener) -> type[Request]:
    """Return the kind of request that its task's signals can see, and that tells of lost processes.

    With `reject_on_worker_lost` Celery sends the message back without a signal, so a task that
    kills each of its processes would go round for good and nobody would know.
    """

    class Watched(request):  # type: ignore[misc, valid-type]  # a class that is only known now
        def on_timeout(self, *args: Any) -> Any:
            with self._current():
                return super().on_timeout(*args)

        def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
            planned = self._already_cancelled or self._already_revoked or state.should_terminate
            listener.told = ""
            with self._current():
                answer = super().on_failure(exc_info, *args, **kwargs)
            error = getattr(exc_info.exception, "exc", exc_info.exception)
            if isinstance(error, _GONE) and not planned and listener.told != self.id:
                listener.lost(self.task, error)
            return answer

        @contextmanager
        def _current(self) -> Iterator[None]:
            """Let `task.request` be this run, as it is where the task itself runs."""
            self.task.request_stack.push(self._context)
            try:
                yield
            finally:
                self.task.request_stack.pop()

    return Watched
