"""Keeping the house itself in order: sending again what was lost, and forgetting what is old."""

from __future__ import annotations

from typing import cast

from pydantic import JsonValue

from homeostat import registry
from homeostat.incidents import retention as incident_retention
from homeostat.incidents import spool
from homeostat.settings import settings
from homeostat.store import retention as store_retention
from homeostat.store import trading_retention
from homeostat.supervision import snapshots
from homeostat.supervision.events import PUBLISH
from homeostat.supervision.ports import Bus
from workers.app import app
from workers.base import HomeostatTask
from workers.dispatch import CeleryDispatcher, sweep


@app.task(name="upkeep.sweep", bind=True, soft_time_limit=30, time_limit=45)
def sweep_jobs(self: HomeostatTask, **_newer: object) -> None:
    """Take in failures that the store could not, and send jobs again that nobody picked up."""
    spool.take_in(self.unit_of_work)
    if settings().recovery:
        sweep(CeleryDispatcher(self.app))


@app.task(name=PUBLISH, bind=True, soft_time_limit=20, time_limit=30)
def publish(
    self: HomeostatTask,
    topic: str,
    payload: dict[str, JsonValue],
    publisher: str,
    key: str = "",
    job_id: str | None = None,
    **_newer: object,
) -> None:
    """Put an event of the outbox on the bus, under its row's id."""
    bus = cast("Bus", registry.find("kernels.message_bus"))
    with self.job(job_id) as session:
        if session is not None:
            bus.publish(topic, payload, publisher=publisher, key=key, event_id=job_id or "")


@app.task(name="upkeep.retain", bind=True, soft_time_limit=120, time_limit=150)
def retain(self: HomeostatTask, **_newer: object) -> None:
    """Roll up occurrences, and forget what is older than its time."""
    with self.unit_of_work() as session:
        incident_retention.run(session)
    with self.unit_of_work() as session:
        store_retention.forget(session)
    with self.unit_of_work() as session:
        trading_retention.forget(session)


@app.task(name="upkeep.snapshot", bind=True, soft_time_limit=60, time_limit=90)
def snapshot(self: HomeostatTask, **_newer: object) -> None:
    """Keep what is known to be good; raises SnapshotError where one did not come back."""
    with self.unit_of_work() as session:
        taken = snapshots.take_all(session)
    if failed := {kind: why for kind, why in taken.items() if isinstance(why, str)}:
        raise snapshots.SnapshotError(f"Snapshots were not kept: {failed}")
