"""What makes a foreign application's failures hard to see loses and doubles none of them."""

from __future__ import annotations

import gc
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from subprocess import Popen

import pytest
from celery import Celery, chord
from sqlalchemy import select

from homeostat.settings import Settings
from homeostat.store import database
from homeostat.store.embedded import EmbeddedServer
from homeostat.store.incidents import Incident
from tests.waiting import wait_until
from tests.worker import rig

MODULE = "tests.worker.foreign_app"
QUIET = ("--without-gossip", "--without-mingle")
POOLS = {
    "prefork": ("-c", "2"),
    "solo": ("-P", "solo"),
    "threads": ("-P", "threads", "-c", "2"),
    "gevent": ("-P", "gevent", "-c", "2"),
}
#: Where nothing answers.
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def broker_url(tmp_path: Path) -> Iterator[str]:
    """The application's own broker, which is none of Homeostat's."""
    database.migrate()
    own = Settings(state_dir=tmp_path / "foreign")
    with EmbeddedServer(own):
        yield own.broker


def process(pool: str, url: str, results: str = "") -> AbstractContextManager[Popen[bytes]]:
    """Run a worker of the foreign application."""
    return rig.celery(
        "worker", *QUIET, *POOLS[pool], app=MODULE, FOREIGN_URL=url, FOREIGN_RESULTS=results or url
    )


@contextmanager
def worker(pool: str, url: str, results: str = "") -> Iterator[Celery]:
    """Run a worker; gives what sends it tasks, and is not attached."""
    with process(pool, url, results):
        client = Celery("client", broker=url, backend=url, set_as_current=False)
        client.conf.task_default_queue = "foreign"
        wait_until(lambda: client.control.ping(timeout=0.5), "the worker answers", 60)
        yield client
        client.close()
        gc.collect()  # results that are left speak to their backend once more


def run(code: str, **environment: str) -> None:
    """Run some Python that imports the application, as a user's own process does."""
    command = [sys.executable, "-c", f"from {MODULE} import again, interrupted, part\n{code}"]
    env = {**os.environ, **environment}
    subprocess.run(command, env=env, cwd=rig.ROOT, check=True, timeout=120)


def counts() -> dict[str | None, tuple[str, int]]:
    with database.reading() as session:
        rows = session.scalars(select(Incident)).all()
    assert len({row.task for row in rows}) == len(rows), [row.label for row in rows]
    return {row.task: (row.type, row.occurrences) for row in rows}


def seen(expected: dict[str, tuple[str, int]]) -> Callable[[], bool]:
    return lambda: expected.items() <= counts().items()


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_no_failure_of_a_foreign_application_is_lost_or_doubled(broker_url: str, pool: str) -> None:
    if pool == "gevent" and importlib.util.find_spec("gevent") is None:
        pytest.skip("gevent is not installed")
    with worker(pool, broker_url) as client:
        client.send_task("foreign.retried", kwargs={"host": "db"})
        client.send_task("foreign.again")
        client.send_task("foreign.ignored")
        client.send_task("foreign.rejected")
        client.send_task("foreign.unserialisable")
        parts = [client.signature("foreign.part", (number,)) for number in (1, 0)]
        chord(parts, app=client)(client.signature("foreign.sum"))
        # An id that the application chose, and uses again each night.
        for _ in range(2):
            client.send_task("foreign.part", (0,), task_id="nightly")
        expected = {
            "foreign.retried": ("OSError", 1),
            "foreign.again": ("ValueError", 1),
            "foreign.rejected": ("celery.exceptions.Reject", 1),
            "foreign.unserialisable": ("TypeError", 1),
            "foreign.part": ("ZeroDivisionError", 3),
        }
        wait_until(seen(expected), "each is an incident", 30)
        client.send_task("foreign.exits")
        wait_until(lambda: "foreign.exits" in counts(), "a task that exits is an incident", 20)
        assert counts().keys() == expected.keys() | {"foreign.exits"}


@pytest.mark.slow
def test_hooks_that_fail_and_processes_that_die_are_seen(broker_url: str, tmp_path: Path) -> None:
    deaths = tmp_path / "deaths"
    with worker("prefork", broker_url) as client:
        client.send_task("foreign.requeued", (os.fspath(deaths),))
        client.send_task("foreign.hooked")
        expected = {
            "foreign.requeued": ("WorkerLostError", 2),
            "foreign.hooked": ("LookupError", 1),
        }
        wait_until(seen(expected), "each is an incident", 30)
        assert counts().keys() == expected.keys()


@pytest.mark.slow
def test_a_result_backend_that_is_down_hides_no_failure(broker_url: str) -> None:
    with worker("prefork", broker_url, NOWHERE) as client:
        client.send_task("foreign.part", (0,))
        client.send_task("foreign.sum", ([1.0],))
        expected = {
            "foreign.part": ("ZeroDivisionError", 1),
            "foreign.sum": ("ConnectionRefusedError", 1),
        }
        wait_until(seen(expected), "the failure, and the backend's, are incidents", 60)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["embedded", "rabbitmq"])
def test_a_message_delivered_again_counts_once_and_one_sent_again_twice(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue("rabbitmq" if kind == "rabbitmq" else "broker_url")
    database.migrate()
    results = "rpc://" if kind == "rabbitmq" else url
    deaths = tmp_path / "deaths"
    # Sent by the application itself, with an id that it uses again.
    send = f"interrupted.apply_async(({str(deaths)!r},), task_id='nightly')"

    def runs() -> int:
        return len(deaths.read_text()) if deaths.exists() else 0

    run(send, FOREIGN_URL=url, FOREIGN_RESULTS=results)
    with process("solo", url, results) as first:
        wait_until(lambda: first.poll() is not None, "the worker dies with the message", 60)
    assert (runs(), counts()) == (1, {"foreign.interrupted": ("LookupError", 1)})
    with process("solo", url, results):
        # Redis' transport looks for what was left unacknowledged only once in several polls.
        wait_until(lambda: runs() == 2, "the message is delivered again", 180)
        run(send, FOREIGN_URL=url, FOREIGN_RESULTS=results)
        wait_until(lambda: runs() == 3, "the new message is run", 60)
        assert counts() == {"foreign.interrupted": ("LookupError", 2)}


def test_eager_tasks_need_no_worker_to_become_incidents() -> None:
    failing = "for number in (0, 0): part.apply_async((number,), task_id='nightly')"
    run(f"{failing}\nagain.delay()", FOREIGN_URL=NOWHERE, FOREIGN_EAGER="yes")
    assert counts() == {
        "foreign.part": ("ZeroDivisionError", 2),
        "foreign.again": ("ValueError", 1),
    }
