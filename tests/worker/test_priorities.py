"""The order in which a real worker takes work, on Redis and on RabbitMQ."""

from __future__ import annotations

from pathlib import Path

from celery import Celery

from homeostat.settings import settings
from tests.waiting import wait_until
from tests.worker.rig import rows_of, worker
from workers import queues
from workers.config import celery_settings
from workers.depths import waiting
from workers.dispatch import CeleryDispatcher

#: Business priorities in the order in which they are sent, idle work first.
SENT = (0, 3, 5, 8, 10, 1, 10)


def test_critical_work_is_taken_first_and_idle_work_last(broker: str, tmp_path: Path) -> None:
    del broker
    seen, gate = tmp_path / "seen", tmp_path / "gate"
    app = Celery("priorities-test", set_as_current=False)
    app.config_from_object(celery_settings(settings()))
    dispatcher = CeleryDispatcher(app)
    with worker([queues.CHAOS], seen):
        # The only child is kept busy until all the others wait.
        dispatcher.send("chaos.hold", {"gate": str(gate)})
        wait_until(lambda: waiting(app, queues.CHAOS) == 0, "the worker is busy", 60)
        for number, priority in enumerate(SENT):
            dispatcher.send("chaos.order", {"mark": f"{priority}/{number}"}, priority=priority)
        wait_until(lambda: waiting(app, queues.CHAOS) >= len(SENT) - 1, "the others wait")
        gate.touch()
        wait_until(lambda: len(rows_of(seen)) == len(SENT), "all have run", 60)

    order = [int(row["mark"].split("/")[0]) for row in rows_of(seen)]
    assert order == sorted(SENT, reverse=True)
