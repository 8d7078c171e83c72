"""The inventory knows the depth of each queue on RabbitMQ too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery
from kombu.entity import Queue

from homeostat.kernels.infrastructure_manager.inventory import look
from homeostat.settings import Settings, settings
from homeostat.supervision import depths as port
from tests.conftest import forget_settings
from tests.running_stack import own_vhost, rabbitmq_answers
from workers.depths import depths


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    if not rabbitmq_answers():
        pytest.skip("no vhost can be made: rabbitmqctl or RabbitMQ does not answer")
    with own_vhost() as url:
        monkeypatch.setenv("HOMEOSTAT_BROKER_URL", url)
        forget_settings()
        settings().ensure_state_dir()
        yield settings()
    forget_settings()


def test_the_depth_of_a_rabbitmq_queue_is_in_the_inventory(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Celery(broker=chosen.broker)
    app.conf.task_queues = [Queue("checks")]
    for _ in range(3):
        app.send_task("checks.x", queue="checks")
    monkeypatch.setattr(port._Port, "ask", staticmethod(lambda: depths(app, ["checks", "trade"])))
    seen = look(chosen)
    assert seen.figures["queue:checks", "depth"] == 3
    assert seen.figures["queue:trade", "depth"] == 0
    assert seen.figures["broker", "ping_s"] > 0
    assert "queues" not in seen.unmeasured


def test_what_nobody_here_can_ask_is_said(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port._Port, "ask", None)
    assert "only a worker can ask" in look(chosen).unmeasured["queues"]


def test_a_broker_that_is_away_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEOSTAT_BROKER_URL", "amqp://guest:guest@127.0.0.1:1//")
    forget_settings()
    settings().ensure_state_dir()
    app = Celery(broker=settings().broker)
    monkeypatch.setattr(port._Port, "ask", staticmethod(lambda: depths(app, ["checks"])))
    assert "does not answer" in look(settings()).unmeasured["queues"]
