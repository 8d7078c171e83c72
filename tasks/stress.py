"""What a stress run and a chaos scenario ask of a worker: effects to count, failures to see."""

from __future__ import annotations

import os
import signal
import time

from homeostat.errors import HomeostatError
from homeostat.settings import settings
from homeostat.store.database import transaction
from homeostat.store.effects import Effect, EffectStart
from homeostat.supervision.check import holder
from workers.app import app
from workers.base import HomeostatTask

#: A task that never ends by itself is killed by these limits, in seconds. A control run (recovery
#: off) shows what becomes of it without them.
ENDLESS_LIMITS_S = {"soft_time_limit": 4, "time_limit": 6} if settings().recovery else {}


class StressDrillError(HomeostatError):
    """A known failure was raised to see that it is recognised."""


def _start(key: str) -> None:
    with transaction() as session:
        session.add(EffectStart(key=key, pid=os.getpid()))


@app.task(name="stress.effect", bind=True, soft_time_limit=60, time_limit=75)
def effect(
    self: HomeostatTask,
    key: str,
    work_s: float = 0.0,
    job_id: str | None = None,
    *,
    announce: bool = False,
    **_newer: object,
) -> None:
    """Do one effect under its natural key, after `work_s` seconds of work.

    With `announce`, the beginning is committed first, so that a killed task leaves a trace.
    """
    if announce:
        _start(key)
    if work_s:
        # The work stands for slow input and output: it comes before the first statement.
        time.sleep(work_s)
    with self.job(job_id) as session:
        if session is not None:
            session.add(Effect(key=key, worker=holder()))


@app.task(name="stress.fail", bind=True, soft_time_limit=20, time_limit=30)
def fail(self: HomeostatTask, drill: str, job_id: str | None = None, **_newer: object) -> None:
    """Raise a failure of a type of its own, so that each drill is an incident of its own."""
    del self, job_id
    _start(drill)
    kind = type(f"StressDrill{drill.rpartition(':')[2]}Error", (StressDrillError,), {})
    raise kind("A known failure was raised on purpose.")


@app.task(name="stress.endless", bind=True, **ENDLESS_LIMITS_S)
def endless(self: HomeostatTask, key: str, job_id: str | None = None, **_newer: object) -> None:
    """Never end, and take no notice of the soft limit: only the hard limit ends it."""
    del self, job_id
    _start(key)
    while True:
        try:
            time.sleep(60)
        except Exception:  # noqa: BLE001, S112  # ignoring the soft limit is its point
            continue


@app.task(name="stress.poison", bind=True, soft_time_limit=20, time_limit=30)
def poison(self: HomeostatTask, key: str, job_id: str | None = None, **_newer: object) -> None:
    """Kill the pool child that runs it, each time it is delivered."""
    del self, job_id
    _start(key)
    os.kill(os.getpid(), signal.SIGKILL)
