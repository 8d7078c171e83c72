"""The load: jobs that each have one effect, and the history of what their producer was told.

The history is a file that is only ever appended to, written by the producer alone. `ok` means
that the job's row was committed, which is what the system promises to carry out; `failed` that
nothing was written; `unknown` that the commit's answer was lost.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import BaseModel, JsonValue
from sqlalchemy.exc import SQLAlchemyError

from homeostat import dispatch
from homeostat.clock import new_id, utcnow
from homeostat.errors import BrokerUnavailableError, StoreUnavailableError
from homeostat.store import effects, jobs
from homeostat.store.database import reading, transaction
from homeostat.store.jobs import Job, JobState

QUEUE = "chaos"
EFFECT = "stress.effect"
#: Business priorities: the load waits behind checks; a scenario's own probe does not.
LOAD_PRIORITY, PROBE_PRIORITY = 3, 9


class Told(StrEnum):
    """What the producer was told of one job."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Line(BaseModel):
    """One line of the history."""

    key: str
    told: Told
    at: datetime


class Ledger(BaseModel):
    """The history held against the effects."""

    told: dict[Told, int]
    effects: int
    lost: list[str]
    doubled: list[str]


class Load:
    """Submits effect jobs at a steady rate from a thread of its own, and keeps the history.

    `rate_per_s` 0 means: only what is asked for with `submit`.
    """

    def __init__(self, history: Path, *, rate_per_s: float = 0.0, work_s: float = 0.0) -> None:
        history.parent.mkdir(parents=True, exist_ok=True)
        self.history = history
        self.prefix = f"load:{new_id()}"
        self._interval_s = 1 / rate_per_s if rate_per_s else 0.0
        self._work_s = work_s
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._count = 0

    def submit(
        self,
        *,
        work_s: float = 0.0,
        announce: bool = False,
        priority: int = LOAD_PRIORITY,
        send: bool = True,
    ) -> tuple[str, Told]:
        """Ask for one effect; return its key and what the producer was told."""
        with self._lock:
            self._count += 1
            key = f"{self.prefix}:{self._count}"
        arguments: dict[str, JsonValue] = {"key": key, "work_s": work_s, "announce": announce}
        return key, self._tell(key, enqueue(EFFECT, arguments, key, priority=priority, send=send))

    def _tell(self, key: str, told: Told) -> Told:
        line = Line(key=key, told=told, at=utcnow()).model_dump_json()
        with self._lock, self.history.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        return told

    def lines(self, since: datetime | None = None) -> list[Line]:
        """Return the history, from a moment on."""
        if not self.history.exists():
            return []
        with self._lock:
            text = self.history.read_text(encoding="utf-8")
        lines = [Line.model_validate(json.loads(line)) for line in text.splitlines()]
        return [line for line in lines if since is None or line.at >= since]

    def __enter__(self) -> Self:
        """Start the producer's thread."""
        if self._interval_s:
            self._thread = threading.Thread(target=self._produce, name="load", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop producing."""
        self.stop()

    def stop(self) -> None:
        """Stop producing; what was submitted is not waited for."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=30)

    def _produce(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self.submit(work_s=self._work_s)
            due = max(due + self._interval_s, time.monotonic() - self._interval_s)
            self._stop.wait(max(0.0, due - time.monotonic()))


def enqueue(
    task: str,
    arguments: dict[str, JsonValue],
    natural_key: str,
    *,
    queue: str = QUEUE,
    priority: int = LOAD_PRIORITY,
    send: bool = True,
) -> Told:
    """Write one job's row, send its message, and return what the producer was told."""
    try:
        with transaction() as session:
            job_id = jobs.enqueue(
                session, task, arguments, queue=queue, priority=priority, natural_key=natural_key
            )
    except StoreUnavailableError:
        return Told.FAILED
    except SQLAlchemyError:
        return Told.UNKNOWN
    if job_id and send:
        # A hint that is lost here is sent by the sweeper.
        with contextlib.suppress(BrokerUnavailableError, StoreUnavailableError, SQLAlchemyError):
            _send(job_id)
    return Told.OK


def _send(job_id: str) -> None:
    with transaction() as session:
        job = session.get(Job, job_id)
        if job is None or jobs.mark_sent(session, job) is not JobState.SENT:
            return
        task, queue, priority = job.task, job.queue, job.priority
        arguments: dict[str, JsonValue] = {**job.kwargs, "job_id": job_id}
    dispatch.dispatcher().send(task, arguments, queue=queue, priority=priority)


def compare(lines: Iterable[Line]) -> Ledger:
    """Hold the history against the effects: what was told `ok` must have one effect each.

    What was told `unknown` may have none or one, and never two.
    """
    told = {line.key: line.told for line in lines}
    with reading() as session:
        found = effects.counts(session, told)
    lost = [key for key, word in told.items() if word is Told.OK and not found.get(key)]
    doubled = [key for key, count in found.items() if count > 1]
    tally = {word: sum(one is word for one in told.values()) for word in Told}
    return Ledger(told=tally, effects=sum(found.values()), lost=lost, doubled=doubled)
