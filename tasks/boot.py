"""Booting on a worker, so that the workflow can be asked for like any other task.

The stack asks for it once it is up, so that a component whose cadence is minutes is known within
seconds. No transaction is open meanwhile: each component boots in one of its own.
"""

from __future__ import annotations

from homeostat.settings import settings
from homeostat.store import controls, jobs
from homeostat.supervision.boot import boot
from homeostat.trading.flow.ground import VENUE_RECONCILED
from workers.app import app
from workers.base import HomeostatTask
from workers.dispatch import CeleryDispatcher, send_jobs

#: Three tries of the slowest component (60 s each) are never needed together with the others'.
SOFT_LIMIT_S, HARD_LIMIT_S = 240, 270


@app.task(name="boot.all", bind=True, soft_time_limit=SOFT_LIMIT_S, time_limit=HARD_LIMIT_S)
def boot_all(self: HomeostatTask, job_id: str | None = None, **_newer: object) -> None:
    """Boot every component by tier; what fails is an incident, as in `homeostat boot`."""
    with self.long_job(job_id) as job:
        if job:
            reconcile_first(self)
            sender = CeleryDispatcher(self.app)
            boot(send=lambda job_ids: send_jobs(sender, job_ids))


def reconcile_first(task: HomeostatTask) -> None:
    """Have book and venue brought together now: after a restart the venue is the truth.

    Until that is done no entry goes out.
    """
    if settings().trades_outside:
        with task.unit_of_work() as session:
            controls.lift(session, VENUE_RECONCILED)
            jobs.enqueue(session, "trade.reconcile", {}, queue="trade", priority=9)
