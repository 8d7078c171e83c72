"""The trade flow on a worker: one task for the batch of all symbols, and the canary."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import IntegrityError

from homeostat.clock import from_iso, utcnow
from homeostat.settings import settings
from workers.app import app
from workers.base import HomeostatTask

if TYPE_CHECKING:
    from homeostat.trading.flow import Summary
    from homeostat.trading.market.panel import Panel

log = logging.getLogger(__name__)

#: Seconds within which a batch must be decided; the next one is due after sixty.
LIMIT_S = 40


@app.task(name="trade.cycle", bind=True, soft_time_limit=LIMIT_S, time_limit=LIMIT_S + 10)
def cycle(
    self: HomeostatTask,
    due_at: str | None = None,
    job_id: str | None = None,
    **_newer: object,
) -> dict[str, Any] | None:
    """Decide on all symbols for the tick that was due; a repeated message decides nothing."""
    from homeostat.trading import flow
    from homeostat.trading.market import port

    moment = from_iso(due_at) if due_at else utcnow()
    # Prices are read before the transaction begins: on SQLite it holds the only write lock.
    panel = port.market(settings()).panel(moment, flow.LOOKBACK)
    try:
        try:
            summary = _decided(self, moment, panel, job_id, careful=False)
        except flow.PartyFailedError:
            # All of it was rolled back; now each subsystem's part stands by itself.
            summary = _decided(self, moment, panel, job_id, careful=True)
    except IntegrityError:
        # Another worker committed the same tick first; all of ours was rolled back. If it was
        # anything else, the look at the journal says so by raising.
        with self.unit_of_work() as session:
            if not flow.has_run(session, moment):
                raise
        return None
    if summary is None:
        return None
    if summary.abstained:
        # One line a cycle, however many symbols are unfit.
        reasons = ", ".join(f"{count} {reason}" for reason, count in summary.abstained.items())
        unfit = sum(summary.abstained.values())
        log.warning("%d of %d symbols abstained: %s", unfit, summary.decisions, reasons)
    return summary.as_json()


def _decided(
    task: HomeostatTask, moment: datetime, panel: Panel, job_id: str | None, *, careful: bool
) -> Summary | None:
    """Run the flow for the tick in a transaction of its own and commit."""
    from homeostat.trading import flow

    with task.job(job_id) as session:
        if session is None:
            return None
        return flow.cycle(session, moment, settings(), panel=panel, careful=careful)


@app.task(name="trade.canary", bind=True, soft_time_limit=LIMIT_S, time_limit=LIMIT_S + 10)
def canary(
    self: HomeostatTask,
    run_id: str | None = None,
    job_id: str | None = None,
    **_newer: object,
) -> dict[str, bool] | None:
    """Send one synthetic trade through the whole flow and record which hooks fired."""
    from homeostat.trading import flow
    from homeostat.trading.market import port

    # A process that is new makes its market here, and not while it holds the write lock.
    port.market(settings())
    with self.job(job_id) as session:
        if session is None:
            return None
        return {one.hook: one.fired for one in flow.canary(session, run_id)}
