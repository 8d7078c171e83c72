"""Any Celery application's failures become incidents: the example app, with real workers."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from sqlalchemy import select

from homeostat.incidents.call import call_in
from homeostat.incidents.lifecycle import State
from homeostat.settings import Settings, settings
from homeostat.store import database
from homeostat.store.embedded import EmbeddedServer
from homeostat.store.incidents import Bundle, Incident
from homeostat.store.jobs import Job
from tests.waiting import wait_until
from tests.worker.rig import user_worker

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "celery_app"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Celery]:
    """The example's worker on a broker of its own; gives a client that sends it tasks."""
    database.migrate()
    own = Settings(state_dir=tmp_path / "shop")
    with EmbeddedServer(own):
        environment = {
            **os.environ,
            "HOMEOSTAT_STATE_DIR": str(settings().state_dir),
            "SHOP_BROKER_URL": own.broker,
            "SHOP_RESULT_URL": own.broker,
            "PYTHONPATH": str(ROOT),
            "SHOP_API_TOKEN": "planted-secret-1",
        }
        client = Celery("client", broker=own.broker, backend=own.broker)
        client.conf.task_default_queue = "shop"
        with user_worker("shop", EXAMPLE, log=tmp_path / "worker.log", env=environment):
            wait_until(lambda: client.control.ping(timeout=0.5), "the worker answers", 60)
            yield client
        client.close()


def incident_of(task: str) -> Incident | None:
    with database.reading() as session:
        return session.scalar(select(Incident).where(Incident.task == task))


def seen(task: str, within: float = 30) -> Incident:
    found = wait_until(lambda: incident_of(task), f"an incident of {task}", within)
    assert found is not None
    return found


def test_a_foreign_applications_failures_become_incidents(shop: Celery) -> None:
    for number in range(5):
        shop.send_task("shop.total", ([1, number], 0))
    shop.send_task("shop.redeem", ("SUMMER",))
    shop.send_task("shop.expected")
    division, voucher = seen("shop.total"), seen("shop.redeem")
    assert division.label.startswith("total_ZeroDivisionError_")
    assert division.basis["frames"] == ["shop:total"]
    # It cannot be pickled, and is recognised all the same, with its own type and frames.
    assert voucher.type == "shop.VoucherError"
    assert voucher.message == "voucher SUMMER refused"
    assert voucher.basis["frames"] == ["shop:redeem"]

    def five() -> bool:
        found = incident_of("shop.total")
        return found is not None and found.occurrences == 5

    wait_until(five, "five occurrences on one incident", 20)
    with database.reading() as session:
        assert (
            len(session.scalars(select(Job).where(Job.task == "fix_analysis.analyse")).all()) == 2
        )
        content = session.get_one(Bundle, (division.id, 1)).content
    assert content["exception"][0]["frames"][-1]["locals"]["quantity"] == 0
    assert any(line["text"] == "adding up 2 prices" for line in content["logs"])
    call = call_in(content)
    assert call is not None
    assert (call.module, call.function, call.args[1:]) == ("shop", "total", (0,))
    assert "planted-secret-1" not in str(content)

    for _ in range(3):
        assert shop.send_task("shop.total", ([2, 4], 2)).get(timeout=20) == 3

    def over() -> bool:
        found = incident_of("shop.total")
        return found is not None and found.state == State.RESOLVED

    wait_until(over, "three healthy runs resolve it", 20)
    assert incident_of("shop.expected") is None


def test_a_storm_is_a_line_of_each_process_and_a_count(shop: Celery, tmp_path: Path) -> None:
    log, storm = tmp_path / "worker.log", 30
    for number in range(storm):
        shop.send_task("shop.total", ([1, number], 0))

    def all_counted() -> bool:
        found = incident_of("shop.total")
        return found is not None and found.occurrences == storm

    wait_until(all_counted, "each failure is counted", 60)
    shop.control.shutdown()

    def told() -> int:
        held = re.findall(r"total_ZeroDivisionError_\w+: (\d+) more in", log.read_text())
        return log.read_text().count("raised unexpected") + sum(map(int, held))

    wait_until(lambda: told() == storm, "the log tells of each failure", 30)
    assert log.read_text().count("raised unexpected") <= 2


def test_a_killed_child_and_a_time_limit_are_seen_with_their_task(shop: Celery) -> None:
    began = time.monotonic()
    shop.send_task("shop.killed")
    killed = seen("shop.killed")
    assert time.monotonic() - began < 5
    assert killed.type == "WorkerLostError"
    assert "signal 9" in killed.message
    began = time.monotonic()
    shop.send_task("shop.stuck")
    stuck = seen("shop.stuck")
    assert time.monotonic() - began < 2 + 5
    assert stuck.type == "TimeLimitExceeded"
    # The worker goes on working.
    assert shop.send_task("shop.total", ([2, 4], 2)).get(timeout=20) == 3
