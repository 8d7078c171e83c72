"""The outside venue on a worker: a task an order, and the reconciliation and prices by minute."""

from __future__ import annotations

import logging
from typing import Any

from homeostat.clock import utcnow
from homeostat.settings import settings
from workers.app import app
from workers.base import HomeostatTask

log = logging.getLogger(__name__)

#: An order asks the venue a few times, ten seconds each at most; the circuit ends a bad row of it.
ORDER_LIMIT_S = 90
RECONCILE_LIMIT_S = 240
#: 222 symbols one after another; the next poll is due after a minute.
PRICES_LIMIT_S = 55


@app.task(
    name="trade.order", bind=True, soft_time_limit=ORDER_LIMIT_S, time_limit=ORDER_LIMIT_S + 10
)
def order(
    self: HomeostatTask, client_id: str, job_id: str | None = None, **_newer: object
) -> str | None:
    """Carry one order out; a repeated message looks it up and sends nothing twice."""
    from homeostat.trading.flow.settling import settle
    from homeostat.trading.venue import choice

    if not settings().trades_outside:
        return None
    state = settle(self.unit_of_work, choice.exchange(settings()), client_id)
    # What is left unsettled stands in the order's row, where the reconciliation finds it.
    with self.job(job_id):
        return state


@app.task(
    name="trade.reconcile",
    bind=True,
    soft_time_limit=RECONCILE_LIMIT_S,
    time_limit=RECONCILE_LIMIT_S + 10,
)
def reconcile(
    self: HomeostatTask, job_id: str | None = None, **_newer: object
) -> dict[str, Any] | None:
    """Bring book and venue together; nothing to do on paper.

    At a start it is asked for as a job, so that nobody waits for the first tick of the timetable.
    """
    from homeostat.trading.flow.reconcile import reconcile as bring_together
    from homeostat.trading.venue import choice

    if not settings().trades_outside:
        return None
    with self.long_job(job_id) as job:
        if job is None:
            return None
        found = bring_together(self.unit_of_work, choice.exchange(settings()))
    log.info("Book and venue were reconciled: %s", found)
    return found.as_json()


@app.task(
    name="trade.prices", bind=True, soft_time_limit=PRICES_LIMIT_S, time_limit=PRICES_LIMIT_S + 5
)
def prices(
    self: HomeostatTask, due_at: str | None = None, **_newer: object
) -> dict[str, Any] | None:
    """Poll the minutes that closed; nothing to do where prices are recorded or generated."""
    from homeostat.trading import feed
    from homeostat.trading.venue import choice

    if not settings().market_live:
        return None
    # A tick that came late polls what is there now.
    del due_at
    found = feed.poll(self.unit_of_work, choice.prices(settings()), utcnow())
    if found.failed or found.waiting:
        # One line a poll, however many symbols failed.
        log.warning("%d symbols were not polled: %s", len(found.failed), found.as_json())
    return found.as_json()
