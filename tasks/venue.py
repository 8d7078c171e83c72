"""The outside venue on a worker: one task an order, and the reconciliation once a minute."""

from __future__ import annotations

import logging
from typing import Any

from homeostat.settings import settings
from workers.app import app
from workers.base import HomeostatTask

log = logging.getLogger(__name__)

#: An order asks the venue a few times, ten seconds each at most; the circuit ends a bad row of it.
ORDER_LIMIT_S = 90
RECONCILE_LIMIT_S = 240


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
def reconcile(self: HomeostatTask, **_newer: object) -> dict[str, Any] | None:
    """Bring book and venue together; nothing to do on paper."""
    from homeostat.trading.flow.reconcile import reconcile as bring_together
    from homeostat.trading.venue import choice

    if not settings().trades_outside:
        return None
    found = bring_together(self.unit_of_work, choice.exchange(settings()))
    log.info("Book and venue were reconciled: %s", found)
    return found.as_json()
