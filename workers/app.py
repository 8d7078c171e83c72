"""The Celery app: `celery -A workers.app worker`, `… beat`, `… flower`."""

from __future__ import annotations

import importlib
import logging
import os
import pkgutil
import signal
from pathlib import Path

from celery import Celery
from celery.signals import (
    after_setup_logger,
    after_setup_task_logger,
    beat_init,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
)

import homeostat.dispatch
from homeostat.clock import utcnow
from homeostat.incidents import loglines, redacted_log, surroundings
from homeostat.incidents.digest import Digest
from homeostat.repair import pickup
from homeostat.settings import settings
from homeostat.store.database import migrate
from homeostat.supervision import depths as depths_port
from homeostat.supervision import processes
from workers import holder
from workers.base import HomeostatTask
from workers.config import celery_settings
from workers.control import WorkerPools
from workers.depths import depths
from workers.dispatch import CeleryDispatcher
from workers.queues import ALL_QUEUES
from workers.tether import die_with_parent

#: Every module in `tasks/` registers tasks; the app knows them by their files alone, because it
#: stands a floor below them. Task names are explicit, so moving a file orphans no message.
TASKS = Path(__file__).parent.parent / "tasks"
TASK_MODULES = tuple(f"tasks.{module.name}" for module in pkgutil.iter_modules([str(TASKS)]))

#: When this process began to read its code.
_SINCE = utcnow()

#: Libraries of components whose checks run every few minutes.
LOADED_BEFORE_THE_FORK = ("scipy.special", "scipy.cluster.hierarchy", "scipy.spatial.distance")

app = Celery("homeostat", task_cls=HomeostatTask, include=TASK_MODULES)
app.config_from_object(celery_settings(settings()))
homeostat.dispatch.install(CeleryDispatcher(app))
processes.install_pools(WorkerPools())
depths_port.install(lambda: depths(app, ALL_QUEUES))
#: Flower takes its address and its password from there, however it is started.
os.environ.setdefault("FLOWER_CONF", str(Path(__file__).with_name("flower_conf.py")))


@worker_init.connect
@beat_init.connect
def _migrate_first(**_kwargs: object) -> None:
    migrate()


@worker_init.connect
def _say_who_works(**_kwargs: object) -> None:
    """Name the main process: what a child of it that is lost had begun, it runs again itself."""
    HomeostatTask.worker = holder.own_name()


@worker_ready.connect
def _follow_the_code(sender: object, **_kwargs: object) -> None:
    """Take up a fix to this code, or to what plugs in, without an operator."""
    pickup.follow((__name__, *TASK_MODULES), _SINCE, str(getattr(sender, "hostname", "worker")))


@worker_init.connect
def _load_before_the_fork(**_kwargs: object) -> None:
    """Import once, in the main process, what every child's checks would import for themselves.

    The children share these pages. Otherwise each grows by 32 MB in one step whenever its first
    check of learning or of the book's balance comes, and that looks like a leak.
    """
    for library in LOADED_BEFORE_THE_FORK:
        importlib.import_module(library)


@worker_process_init.connect
def _die_with_the_main(**_kwargs: object) -> None:
    # A pool child whose main was killed would work on beside the one that takes its place.
    die_with_parent(signal.SIGKILL)


_digest = Digest()


@after_setup_logger.connect
@after_setup_task_logger.connect
def _write_no_secret_into_the_log(logger: logging.Logger, **_kwargs: object) -> None:
    redacted_log.guard(logger)


@worker_process_init.connect
def _keep_the_last_log_lines(**_kwargs: object) -> None:
    """Keep lines for the diagnostic bundle, and thin a storm of alike failures to digests."""
    loglines.install()
    # Celery's task loggers do not pass their lines on to the root logger.
    loglines.install(logging.getLogger("celery.task"))
    logging.getLogger("celery.app.trace").addFilter(_digest)
    surroundings.warm_in_background()


@worker_process_shutdown.connect
def _count_what_was_held_back(**_kwargs: object) -> None:
    _digest.flush()
