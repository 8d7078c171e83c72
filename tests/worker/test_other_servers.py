"""The same stack on PostgreSQL and RabbitMQ: two settings, and nothing else changed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import forget_settings, postgresql_answers
from tests.running_stack import RunningStack, own_database, own_vhost, rabbitmq_answers, running
from tests.waiting import wait_until
from workers import control

pytestmark = pytest.mark.slow


@pytest.fixture
def other_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningStack]:
    if not postgresql_answers():
        pytest.skip("PostgreSQL does not answer on 127.0.0.1:5432")
    if not rabbitmq_answers():
        pytest.skip("no vhost can be made: rabbitmqctl or RabbitMQ does not answer")
    with ExitStack() as held:
        extra = {
            "HOMEOSTAT_DATABASE_URL": held.enter_context(own_database()),
            "HOMEOSTAT_BROKER_URL": held.enter_context(own_vhost()),
        }
        for name, value in extra.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HOMEOSTAT_STATE_DIR", str(tmp_path / "var"))
        forget_settings()
        yield held.enter_context(running(tmp_path / "var", **extra))
        forget_settings()


def test_the_stack_does_its_work_on_postgresql_and_rabbitmq(other_stack: RunningStack) -> None:
    stack = other_stack
    assert stack.settings.embeds_redis, "the bus still has its embedded Redis"
    assert "redis" in stack.pids()

    done = stack.run("check", "run", "kernels.message_bus", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ran"] == "worker"

    beaten = "SELECT * FROM check_runs WHERE entry = 'kernels.message_bus'"
    wait_until(lambda: stack.rows(beaten), "the beat's tick was run")

    seen = json.loads(stack.run("status", "-o", "json").stdout)
    assert isinstance(seen["queues"], dict)

    main = stack.pid("worker")
    os.kill(main, signal.SIGKILL)
    wait_until(
        lambda: stack.incidents("WorkerLostError", "workers.main"), "the loss is an incident", 10
    )
    wait_until(lambda: stack.pid("worker") != main, "it runs again", 60)
    wait_until(lambda: control.pings([control.MAIN]), "it answers", 60)

    stack.send("nobody.knows")
    wait_until(lambda: stack.incidents("PoisonMessageError"), "what nobody knows is set aside")
    assert stack.run("down").returncode == 0
