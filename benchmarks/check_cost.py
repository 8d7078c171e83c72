"""What a check costs beside a Celery task that does nothing, with task events on and off.

`python -m benchmarks.check_cost --json`

Each variant has a broker, a database and a prefork worker of its own, one after the other. The
messages of all ticks lie in the queue before the clock starts; it stops when the queue is empty
and nothing is unacknowledged. cpu_ms_per_task is user and system time of the worker's main
process and its children, by the operating system's accounting; the broker's share is not in it.
`done` is counted from the database for ours: the passed check runs of those ticks. The pool has one
child, because some components' probes disturb each other when two of them run at once.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
from celery import Celery
from redis import Redis
from sqlalchemy import create_engine, text

from benchmarks.stack import wait_for
from homeostat.settings import Settings
from homeostat.store.embedded import EmbeddedServer
from homeostat.supervision import cadence
from homeostat.supervision.timetable import Entry
from workers.config import celery_settings
from workers.queues import CHECKS, redis_lists
from workers.ticks import Template

OURS, BARE = "ours", "bare"
WARM_UP = 50
_ENTRY = "benchmark.cost"


class Worker:
    """One worker on a broker of its own."""

    def __init__(self, which: str, settings: Settings, pid: int) -> None:
        self._which = which
        self._settings = settings
        self._main = psutil.Process(pid)
        self._redis = Redis(unix_socket_path=str(settings.redis_socket))
        self._next_us = cadence.interval_us(3600) * 1000

    def has_pool(self) -> bool:
        """Whether its pool stands."""
        return len(self._main.children()) > 0

    def held(self) -> int:
        """Return how many messages wait or are not yet acknowledged."""
        pipe = self._redis.pipeline()
        for name in redis_lists(CHECKS):
            pipe.llen(name)
        pipe.hlen("unacked")
        return sum(pipe.execute())

    def cpu_s(self) -> float:
        """Return the seconds of processor time of the main process and its children."""
        times = [process.cpu_times() for process in (self._main, *self._main.children())]
        return sum(own.user + own.system for own in times)

    def work(self, component: str, count: int) -> tuple[float, float]:
        """Let it run `count` ticks, and return (wall seconds, processor seconds)."""
        task = f"checks.{component}" if self._which == OURS else "bare.nothing"
        app = Celery("producer", set_as_current=False)
        app.config_from_object(celery_settings(self._settings))
        template = Template(app, Entry(_ENTRY, task, 1.0))
        name = redis_lists(CHECKS)[int(app.conf.task_default_priority)]
        now_us = time.time_ns() // 1000
        rows = []
        for _ in range(count):
            self._next_us += template.every_us
            rows.append(template.message(self._next_us, now_us).envelope())
        before, begin = self.cpu_s(), time.monotonic()
        self._redis.lpush(name, *rows)
        wait_for(lambda: self.held() == 0, "the end of the work", 600)
        return time.monotonic() - begin, self.cpu_s() - before

    def done(self) -> int | None:
        """Return how many check runs the database holds; None for the bare app."""
        if self._which == BARE:
            return None
        with create_engine(self._settings.database).connect() as connection:
            statement = text("SELECT count(*) FROM check_runs WHERE entry = :entry AND passed")
            return int(connection.execute(statement, {"entry": _ENTRY}).scalar_one())


@contextmanager
def running(which: str, *, events: bool, state: Path, concurrency: int) -> Iterator[Worker]:
    """Run a broker and a worker."""
    settings = Settings(state_dir=state)
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HOMEOSTAT_")},
        "HOMEOSTAT_STATE_DIR": str(state),
        "BENCHMARK_EVENTS": "on" if events else "off",
    }
    command = [sys.executable, "-m", "celery", "-A", f"benchmarks.check_cost_app:{which}"]
    command += ["worker", "-Q", CHECKS, "-c", str(concurrency), "-l", "WARNING"]
    with ExitStack() as open_things:
        open_things.enter_context(EmbeddedServer(settings))
        log = open_things.enter_context((state / "worker.log").open("wb"))
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            worker = Worker(which, settings, process.pid)
            wait_for(worker.has_pool, "the worker's pool")
            yield worker
        finally:
            process.terminate()
            process.wait(30)


def measure(which: str, *, events: bool, component: str, count: int) -> dict[str, Any]:
    """Return the figures of one variant."""
    with tempfile.TemporaryDirectory(prefix="cost-") as folder:
        state = Path(folder) / "var"
        with running(which, events=events, state=state, concurrency=1) as worker:
            worker.work(component, WARM_UP)
            wall_s, cpu_s = worker.work(component, count)
            done = worker.done()
    return {
        "cpu_ms_per_task": round(cpu_s / count * 1000, 3),
        "per_second": round(count / wall_s, 1),
        "done": done if done is None else done - WARM_UP,
        "asked": count,
    }


def main() -> None:
    """Measure the four variants and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000, help="ticks a variant")
    parser.add_argument("--component", default="kernels.message_bus", help="whose check is run")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    report: dict[str, Any] = {"component": asked.component}
    for which in (OURS, BARE):
        for events in (True, False):
            name = f"{which}_events_{'on' if events else 'off'}"
            report[name] = measure(
                which, events=events, component=asked.component, count=asked.count
            )
    for switch in ("on", "off"):
        ours, bare = report[f"{OURS}_events_{switch}"], report[f"{BARE}_events_{switch}"]
        report[f"cpu_ratio_events_{switch}"] = round(
            ours["cpu_ms_per_task"] / bare["cpu_ms_per_task"], 2
        )
    for which in (OURS, BARE):
        on, off = report[f"{which}_events_on"], report[f"{which}_events_off"]
        report[f"events_cost_{which}"] = round(on["cpu_ms_per_task"] / off["cpu_ms_per_task"], 2)
    if asked.json:
        print(json.dumps(report, indent=2))
        return
    for name, value in report.items():
        print(f"{name:22} {value}")


if __name__ == "__main__":
    main()
