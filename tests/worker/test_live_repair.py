"""A user's task fails, is mended in their repository, and their worker runs the new code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import TimeoutError as NoAnswerError

from homeostat.repair.sandbox import Isolation, detect_isolation
from homeostat.settings import Settings
from homeostat.store.embedded import EmbeddedServer
from tests.component.repair.conftest import begin, git, write
from tests.running_stack import RunningStack, running
from tests.waiting import wait_until
from tests.worker.rig import user_worker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
    ),
]

ROOT = Path(__file__).parents[2]
APP = '''"""A till on Celery."""

import os

from celery import Celery

from homeostat.integrations.celery import attach
from prices import total

#: Elsewhere it can be imported as well: by a test, or by who makes its call again.
BROKER = os.environ.get("TILL_BROKER", "memory://")
app = Celery("till", broker=BROKER, backend=BROKER.replace("memory://", "cache+memory://"))
app.conf.task_default_queue = "till"
attach(app)


@app.task(name="till.receipt")
def receipt(prices):
    return total(prices)
'''
PRICES = '''"""Prices."""

import math


def total(prices):
    """Add prices up, to the cent."""
    return round(math.fsum(prices), 2)
'''
BROKEN = PRICES.replace("import math\n\n", "")
TEST = "from prices import total\n\n\ndef test_total():\n    assert total([1, 2.005]) == 3.0\n"


def checkout(folder: Path, *, tested: bool) -> Path:
    """Make a checkout with a worker's code and the defect; with a test or without."""
    made = folder / "till"
    made.mkdir()
    write(made, {"till.py": APP, "prices.py": BROKEN, "conftest.py": "",
                 ".gitignore": "__pycache__/\n"})  # fmt: skip
    if tested:
        write(made, {"tests/test_prices.py": TEST})
    return begin(made)


@contextmanager
def worker(repository: Path, stack: RunningStack, broker: str, log: Path) -> Iterator[int]:
    """The user's worker, started by the user; gives its pid."""
    environment = {**stack.env, "TILL_BROKER": broker, "PYTHONPATH": str(ROOT)}
    environment.pop("HOMEOSTAT_REPOSITORY")
    with user_worker("till", repository, log=log, env=environment) as process:
        yield process.pid


def repairs(stack: RunningStack) -> list[dict[str, Any]]:
    rows = stack.rows("SELECT * FROM repairs ORDER BY created_at")
    for row in rows:
        row["watch"] = json.loads(row["watch"])
        row["outcome"] = json.loads(row["outcome"])
    return rows


def ended(stack: RunningStack, number: int) -> dict[str, Any]:
    """The repair of that number, once its watch has ended; until then an empty one."""
    found = repairs(stack)
    done = len(found) >= number and "ended" in found[number - 1]["watch"]
    return found[number - 1] if done else {}


def sold(client: Celery) -> bool:
    """Ask for a receipt; False where the task failed, or its worker was just starting again."""
    try:
        answer = client.send_task("till.receipt", ([1, 2.5],)).get(timeout=20, propagate=False)
    except NoAnswerError:
        return False
    return bool(answer == 3.5)


def mended(stack: RunningStack, client: Celery, pid: int, number: int) -> dict[str, Any]:
    """See the task fail, then run in the same worker; return its repair."""
    wait_until(lambda: client.control.ping(timeout=0.5), "the worker answers", 60)
    assert not sold(client)
    wait_until(lambda: sold(client), "the worker runs the mended code", 120)
    repair = wait_until(lambda: ended(stack, number), "the watch ends", 120)
    assert repair["watch"]["ended"]["how"] == "stands", repair["watch"]
    assert str(pid) in [one["who"].rsplit(":", 1)[1] for one in repair["watch"]["taken_up"]]
    return repair


@contextmanager
def stack_and_client(repository: Path, folder: Path) -> Iterator[tuple[RunningStack, Celery, str]]:
    """A stack that may mend the repository, and a broker of the user's own with its client."""
    own = Settings(state_dir=folder / "broker")
    client = Celery("client", broker=own.broker, backend=own.broker)
    client.conf.task_default_queue = "till"
    with (
        EmbeddedServer(own),
        running(folder / "var", HOMEOSTAT_REPOSITORY=str(repository)) as stack,
    ):
        yield stack, client, own.broker
        client.close()


def test_a_failing_task_is_mended_and_the_users_worker_runs_the_new_code(tmp_path: Path) -> None:
    repository = checkout(tmp_path, tested=True)
    with stack_and_client(repository, tmp_path) as (stack, client, broker):
        with worker(repository, stack, broker, tmp_path / "worker.log") as pid:
            first = mended(stack, client, pid, 1)
        write(repository, {"prices.py": BROKEN})
        git(repository, "commit", "-q", "-am", "A careless merge")
        with worker(repository, stack, broker, tmp_path / "again.log") as pid:
            again = mended(stack, client, pid, 2)
        assert (first["outcome"]["from_knowledge"], again["outcome"]["from_knowledge"]) == (
            False,
            True,
        )
        assert stack.incidents("NameError")[0]["state"] == "resolved"
        assert git(repository, "status", "--porcelain") == ""
        story = stack.run("fix", "show", again["id"])
        for told in ("import math", "Proof", "fix.applied", "fix.verified", "verifying"):
            assert told in story.stdout


def test_a_task_that_no_test_names_is_mended_by_its_own_call(tmp_path: Path) -> None:
    repository = checkout(tmp_path, tested=False)
    with stack_and_client(repository, tmp_path) as (stack, client, broker):
        with worker(repository, stack, broker, tmp_path / "worker.log") as pid:
            repair = mended(stack, client, pid, 1)
        assert repair["command"].endswith("-c 'from till import receipt; receipt([1, 2.5])'")
        assert stack.incidents("NameError")[0]["state"] == "resolved"
