"""Real Celery processes for a test, and what they send, read from the broker itself."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from kombu.connection import Connection
from redis import Redis

from homeostat.clock import from_iso
from homeostat.settings import settings
from workers import queues

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Sent:
    """One message of the beat."""

    entry: str
    due_at: datetime
    interval_s: float
    headers: dict[str, Any]


@dataclass
class Inbox:
    """Every message that went to the queues, each once, in no order."""

    _seen: dict[str, Sent] = field(default_factory=dict)
    _ids: list[str] = field(default_factory=list)

    def sent(self) -> list[Sent]:
        """Return what has been sent so far."""
        for headers, body in self._new():
            _args, kwargs, _embed = body
            self._ids.append(headers["id"])
            self._seen[headers["id"]] = Sent(
                kwargs["entry"], from_iso(kwargs["due_at"]), kwargs["interval_s"], headers
            )
        return list(self._seen.values())

    def ticks(self, entry: str | None = None) -> list[tuple[str, datetime]]:
        """Return (entry, due time) of what was sent, in order of due time."""
        found = [(row.entry, row.due_at) for row in self.sent()]
        return sorted((row for row in found if entry in (None, row[0])), key=lambda row: row[1])

    def doubled(self) -> list[tuple[str, datetime]]:
        """Return the ticks that were sent more than once."""
        return [tick for tick, count in Counter(self.ticks()).items() if count > 1]

    def _new(self) -> Iterator[tuple[dict[str, Any], Any]]:
        broker = settings().broker
        if queues.is_redis(broker):
            return self._from_redis()
        return self._from_rabbitmq(broker)

    def _from_redis(self) -> Iterator[tuple[dict[str, Any], Any]]:
        client = Redis(unix_socket_path=str(settings().redis_socket))
        for queue in queues.ALL_QUEUES:
            for name in queues.redis_lists(queue):
                while raw := client.rpop(name):
                    envelope = json.loads(str(raw, "utf-8"))  # type: ignore[arg-type]  # redis-py types both of its clients
                    yield envelope["headers"], json.loads(base64.b64decode(envelope["body"]))
        client.close()

    def _from_rabbitmq(self, broker: str) -> Iterator[tuple[dict[str, Any], Any]]:
        with Connection(broker) as connection:
            channel = connection.channel()
            for queue in queues.declared(broker):
                queue(channel).declare()
                while (message := channel.basic_get(queue.name, no_ack=True)) is not None:
                    yield message.headers, json.loads(message.body)


@contextmanager
def process(
    *words: str, log: Path, env: Mapping[str, str], cwd: Path = ROOT
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `celery` with these words, and kill what is left of it at the end."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", *words],
            cwd=cwd,
            env=dict(env),
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def celery(
    *words: str, state: Path | None = None, app: str = "tests.worker.beat_app", **env: str
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Run `celery -A app …` on this test's settings."""
    log = (state or settings().state_dir).parent / f"{words[0]}.log"
    return process("-A", app, *words, log=log, env={**os.environ, **env})


def user_worker(
    app: str, folder: Path, *, log: Path, env: Mapping[str, str]
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Run the worker of a user's application, in the folder that it lies in."""
    return process(
        "-A", app, "worker", "-c", "2", "-l", "INFO", "--without-gossip", "--without-mingle",
        log=log, env=env, cwd=folder,
    )  # fmt: skip


def table(*rows: dict[str, Any]) -> str:
    """Return a timetable for `BEAT_TABLE`."""
    return json.dumps(rows)


def beat(rows: str) -> Any:
    """Run a beat over that timetable."""
    return celery("beat", "-l", "INFO", "-s", os.devnull, BEAT_TABLE=rows)


def worker(names: Sequence[str], seen: Path, *, concurrency: int = 1) -> Any:
    """Run a worker of those queues that writes what it was given to `seen`."""
    return celery(
        "worker", "-l", "INFO", "-Q", ",".join(names), "-c", str(concurrency),
        "--without-gossip", "--without-mingle", SEEN_FILE=str(seen),
    )  # fmt: skip


def rows_of(seen: Path) -> list[dict[str, Any]]:
    """Return what workers wrote down."""
    return [json.loads(line) for line in seen.read_text().splitlines()] if seen.exists() else []
