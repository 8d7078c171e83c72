"""The incidents queue: notices go out, and what is due with time is done."""

from __future__ import annotations

from homeostat.incidents import delivery, upkeep
from homeostat.store import jobs
from homeostat.store.database import transaction
from workers.app import app
from workers.base import HomeostatTask


@app.task(name="incidents.follow_up", bind=True, soft_time_limit=60, time_limit=75)
def follow_up(self: HomeostatTask, **_newer: object) -> None:
    """Remind, escalate, lift what ran out, end flapping that has gone quiet."""
    with self.unit_of_work() as session:
        upkeep.run(session)


@app.task(name="incidents.notify", bind=True, soft_time_limit=60, time_limit=75)
def notify(
    self: HomeostatTask, notice_id: str, job_id: str | None = None, **_newer: object
) -> None:
    """Send one notice: claimed in one transaction, sent in none, marked in another.

    One that was not accepted leaves its job open, so that the sweeper sends it again; so does one
    that another worker has claimed, because that worker may have died.
    """
    with transaction() as session:
        if job_id is not None and jobs.start(session, job_id) is None:
            return
        outgoing = delivery.claim(session, notice_id)
        if outgoing is None and not delivery.is_sent(session, notice_id):
            return
    if outgoing is not None:
        try:
            delivery.send(outgoing)
        except delivery.DeliveryError as error:
            with transaction() as session:
                delivery.mark_failed(session, notice_id, str(error))
            return
    with self.unit_of_work() as session:
        if outgoing is not None:
            delivery.mark_sent(session, notice_id)
        if job_id is not None:
            jobs.finish(session, job_id)
