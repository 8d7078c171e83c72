"""`attach(app)`: any Celery application's failures become incidents, with no other change.

The application keeps its own broker, result backend, settings and tasks; Homeostat only listens
to Celery's signals. Where its store lives is told by the `HOMEOSTAT_…` variables.

What can go wrong here must not harm the application: every hook logs its own failure and returns.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from celery import Celery, Task, signals
from celery.exceptions import TimeLimitExceeded, WorkerLostError
from celery.utils.imports import symbol_by_name
from sqlalchemy import select

from homeostat.clock import new_id, utcnow
from homeostat.errors import HomeostatError
from homeostat.incidents import loglines, spool, surroundings
from homeostat.incidents.call import Call
from homeostat.incidents.digest import Digest
from homeostat.incidents.failure import Failure, Severity, Source
from homeostat.incidents.recognition import report
from homeostat.incidents.recovery import healthy_run
from homeostat.integrations import runs
from homeostat.repair import pickup
from homeostat.store import database
from homeostat.store.incidents import Incident

log = logging.getLogger(__name__)

#: How long this process believes that a component has no open incident, in seconds. A success
#: costs nothing meanwhile; an incident ends at most this much later.
LOOK_EVERY_S = 5.0
#: The logger on which Celery reports each failed task.
CELERY_FAILURES = "celery.app.trace"


class Attachment:
    """Listens to one application's signals; made by `attach`."""

    def __init__(self, app: Celery, severity: Severity) -> None:
        self._app = app
        self._severity = severity
        self._since = utcnow()
        self._digest = Digest()
        self._no_incident_until: dict[str, float] = {}
        self._prepared = False
        #: The worker's main process, where there is one.
        self._main = 0
        #: The task whose failure Celery told of last.
        self.told = ""

    def connect(self) -> None:
        """Connect to the signals; connecting the same application twice is once."""
        name = f"homeostat:{id(self._app)}"
        pairs: tuple[tuple[Any, Any], ...] = (
            (signals.before_task_publish, runs.mark),
            (signals.task_failure, self.failed),
            # A hook of the task's, or the result backend, failed after the task's own code did.
            (signals.task_internal_error, self.failed),
            (signals.task_success, self.succeeded),
            (signals.task_postrun, self.left),
            (signals.worker_init, self.worker_started),
            (signals.worker_process_init, self.child_started),
            (signals.worker_ready, self.worker_ready),
            (signals.worker_process_shutdown, self.process_ends),
            (signals.worker_shutdown, self.process_ends),
        )
        for signal, receiver in pairs:
            signal.connect(receiver, weak=False, dispatch_uid=f"{name}:{receiver.__name__}")

    def worker_started(self, **_: object) -> None:
        """Bring the store's schema up to date, before the first task."""
        self._main = os.getpid()
        try:
            self._prepare()
        except HomeostatError as error:
            # The sentence says what to do; a traceback would hide it.
            log.error("Homeostat's store cannot be prepared: %s", error)  # noqa: TRY400
        except Exception:
            log.exception("Homeostat's store cannot be prepared")
        self._listen_to_logs()
        for task in self._app.tasks.values():
            if not task.name.startswith("celery."):
                task.Request = runs.watched(symbol_by_name(task.Request), self)

    def child_started(self, **_: object) -> None:
        """Prepare a pool process; no thread is started before the fork, which it might hang."""
        self._listen_to_logs()
        surroundings.warm_in_background()

    def process_ends(self, **_: object) -> None:
        """Say how many failures the log has held back until now."""
        self._digest.flush()

    def worker_ready(self, sender: Any, **_: object) -> None:
        """Follow the code of the tasks: when a fix to it lands, the worker takes it up by itself.

        It finishes what it is at, and starts again in its own place with the same command.
        """
        tasks = {name: task for name, task in self._app.tasks.items() if name[:7] != "celery."}
        try:
            modules = {type(task).__module__ for task in tasks.values()}
            pickup.follow(modules, self._since, str(getattr(sender, "hostname", "worker")))
        except Exception:
            log.exception("Fixes to the code of the tasks cannot be followed")

    def _listen_to_logs(self) -> None:
        """Keep log lines for the bundle, and thin out storms."""
        loglines.install()
        # Celery's task loggers do not pass their lines on to the root logger.
        loglines.install(logging.getLogger("celery.task"))
        logger = logging.getLogger(CELERY_FAILURES)
        if self._digest not in logger.filters:
            logger.addFilter(self._digest)

    def failed(
        self,
        sender: Task,
        task_id: str,
        exception: BaseException,
        args: object = (),
        kwargs: object = None,
        request: Mapping[str, object] | None = None,
        **_: object,
    ) -> None:
        """Report a failed task; errors that the task declares as expected are none."""
        if sender.app is not self._app or isinstance(exception, tuple(sender.throws or ())):
            return
        self.told = task_id
        failure = replace(
            self._failure(sender, sender.name or "", exception),
            call=_call_of(sender, args, kwargs or {}),
        )
        self._no_incident_until.pop(failure.component, None)
        # A lost pool process is reported by the worker's main process, which forks its successor
        # at once; a thread that held a lock just then would hang the successor, so there is none.
        # Where something around the task failed, its request is over and comes with the signal.
        self._report(failure, runs.run_of(request or sender.request, task_id))

    def left(self, sender: Task, task_id: str, state: str | None, **_: object) -> None:
        """Report a task that asked its process to exit, where that is the whole worker.

        Without processes of its own for the tasks, a worker tells of that by no signal.
        """
        error = sys.exc_info()[1]
        if state is None and isinstance(error, SystemExit) and os.getpid() == self._main:
            self.failed(sender, task_id, error)

    def lost(self, task: Task, error: BaseException) -> None:
        """Report a pool process that was lost with a task that runs again, each time anew."""
        failure = self._failure(task, task.name or "", WorkerLostError(str(error)))
        self._report(failure, f"requeued:{new_id()}")

    def _failure(self, task: Task, name: str, exception: BaseException) -> Failure:
        if isinstance(exception, WorkerLostError | TimeLimitExceeded):
            return Failure.without_frames(
                type(exception).__name__,
                str(exception),
                source=Source.WORKER,
                component=name,
                task=name,
            )
        top = (task.__module__ or "").split(".", 1)[0]
        return Failure.from_exception(
            exception,
            source=Source.TASK,
            component=name,
            task=name,
            app_packages={top} if top else (),
        )

    def _report(self, failure: Failure, run: str) -> None:
        sighting = f"celery:{run}"
        try:
            self._prepare()
            with database.transaction() as session:
                report(session, failure, severity=self._severity, sighting=sighting)
            spool.take_in(database.transaction)
        except Exception:
            log.exception("The failure of task %s is kept for later", failure.task)
            spool.keep(failure, severity=self._severity, sighting=sighting)

    def succeeded(self, sender: Task, **_: object) -> None:
        """Count a healthy run, where the task has an open incident."""
        if sender.app is not self._app:
            return
        name, now = sender.name or "", time.monotonic()
        if self._no_incident_until.get(name, 0.0) > now:
            return
        try:
            self._prepare()
            spool.take_in(database.transaction)
            if not self._has_open_incident(name):
                self._no_incident_until[name] = now + LOOK_EVERY_S
                return
            with database.transaction() as session:
                healthy_run(session, name)
        except Exception:
            self._no_incident_until[name] = now + LOOK_EVERY_S
            log.exception("The success of task %s could not be recorded", name)

    def _prepare(self) -> None:
        """Bring the store's schema up to date, once: eager tasks run where no worker started."""
        if not self._prepared:
            database.migrate()
            self._prepared = True

    def _has_open_incident(self, component: str) -> bool:
        with database.reading() as session:
            found: Any = session.scalar(
                select(Incident.id)
                .where(Incident.component == component, Incident.resolved_at.is_(None))
                .limit(1)
            )
        return found is not None


def _call_of(task: Task, args: object, kwargs: object) -> Call | None:
    """Return the call of the task's own function; a task that is a class has none."""
    if not getattr(task, "_decorated", False):
        return None
    return Call.read(type(task).__module__, type(task).__name__, args, kwargs)


def attach(app: Celery, *, severity: Severity | str = Severity.CRITICAL) -> Attachment:
    """Make the failures of `app`'s tasks incidents; call it once, where the app is made.

    Successful runs of a task resolve its incident again. `severity` decides how urgently the
    incidents are analysed.
    """
    attachment = Attachment(app, Severity(severity))
    attachment.connect()
    return attachment
