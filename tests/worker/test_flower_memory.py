"""Flower's table is full early and then stays, so that its growth is not taken for a leak."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Iterator
from urllib.error import URLError
from urllib.request import Request, urlopen

import psutil
import pytest
from celery import Celery

from homeostat.settings import settings
from tests.conftest import forget_settings
from tests.waiting import wait_until
from tests.worker.rig import celery
from workers.config import celery_settings
from workers.flower_auth import credentials

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("embedded_broker")]

NAMES = [f"checks.{number}" for number in range(29)]
PORT = 25_555
#: Sent at a time, so that the events do not pile up in the broker.
BATCH = 250
#: After so many tasks the table has to be full; it may grow by this little over twice as many more.
FULL, BEYOND_MB = 1_500, 2.0


def succeeded() -> int:
    """Return how many tasks Flower has seen succeed; -1 while it does not answer."""
    password = base64.b64encode(":".join(credentials(settings().state_dir)).encode()).decode()
    asked = Request(
        f"http://127.0.0.1:{PORT}/metrics", headers={"Authorization": f"Basic {password}"}
    )
    try:
        with urlopen(asked, timeout=5) as answer:  # noqa: S310  # our own loopback
            text = answer.read().decode()
    except (URLError, OSError):
        return -1
    counts = re.findall(r'flower_events_total\{[^}]*type="task-succeeded"[^}]*\} (\S+)', text)
    return int(sum(map(float, counts)))


def live(app: Celery, tasks: int) -> None:
    """Tell of so many tasks that were received, started and done."""
    with app.connection_for_write() as connection:
        tell = app.events.Dispatcher(connection, hostname="main@here")
        for number in range(tasks):
            task = str(uuid.uuid4())
            kwargs = f"{{'due_at': '2026-11-21T13:48:05+00:00', 'job_id': '{uuid.uuid4()}'}}"
            tell.send("task-received", uuid=task, name=NAMES[number % 29], kwargs=kwargs, args="()")
            tell.send("task-started", uuid=task)
            tell.send("task-succeeded", uuid=task, result=f"'{uuid.uuid4()}'", runtime=0.1)


@pytest.fixture
def flower(monkeypatch: pytest.MonkeyPatch) -> Iterator[psutil.Process]:
    monkeypatch.setenv("HOMEOSTAT_FLOWER_PORT", str(PORT))
    forget_settings()
    settings().ensure_state_dir()
    with celery("flower", app="workers.app") as process:
        wait_until(lambda: succeeded() >= 0, "Flower answers", 60)
        yield psutil.Process(process.pid)


def test_its_memory_stays_once_its_table_is_full(flower: psutil.Process) -> None:
    app = Celery("flower-test", set_as_current=False)
    app.config_from_object(celery_settings(settings()))

    def heard() -> bool:
        live(app, 1)
        return succeeded() > 0

    # It answers before it listens, and what is told meanwhile is lost.
    wait_until(heard, "Flower hears of a task", 60)

    def memory_after(tasks: int) -> float:
        while (seen := succeeded()) < tasks:
            live(app, BATCH)
            wait_until(lambda: succeeded() >= seen + BATCH, "Flower has read them")
        return flower.memory_info().rss / 1e6

    empty = memory_after(0)
    full = memory_after(FULL)
    beyond = memory_after(3 * FULL)
    assert full > empty + 1.0, "the tasks are kept"
    assert beyond < full + BEYOND_MB
