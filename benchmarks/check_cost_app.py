"""The apps of the check-cost benchmark: ours, and a bare Celery app with a task that does nothing.

`BENCHMARK_EVENTS` (on or off) says whether the workers send task events.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from homeostat.settings import settings
from workers import queues
from workers.app import app as ours

EVENTS = os.environ.get("BENCHMARK_EVENTS", "on") == "on"

bare = Celery("bare", broker=settings().broker, set_as_current=False)
bare.conf.update(
    task_default_queue=queues.CHECKS,
    task_ignore_result=True,
    # The same broker lists as ours, so that both take the same messages.
    broker_transport_options={"priority_steps": list(queues.REDIS_STEPS)},
)


@bare.task(name="bare.nothing")  # type: ignore[untyped-decorator]  # Celery publishes no types
def nothing(**_kwargs: Any) -> None:
    """Do nothing."""


for app in (ours, bare):
    app.conf.worker_send_task_events = EVENTS
    # The throughput of a check is measured, not its rate limit.
    app.conf.worker_disable_rate_limits = True
