"""How the processes around the workers report what they saw: one incident, and its job sent."""

from __future__ import annotations

import logging

from homeostat.errors import HomeostatError
from homeostat.incidents import spool
from homeostat.incidents.failure import Failure, Severity
from homeostat.incidents.recognition import report
from homeostat.store.database import transaction
from workers import control, dispatch

log = logging.getLogger(__name__)


def report_failure(
    failure: Failure, *, sighting: str | None = None, severity: Severity = Severity.CRITICAL
) -> bool:
    """Record the failure in a transaction of its own and send what it enqueued.

    `sighting` names the one event, where it may be told twice: a second report counts nothing.
    Returns False where the store is away, so that the caller can try again.
    """
    try:
        with transaction() as session:
            report(session, failure, severity=severity, sighting=sighting)
        dispatch.send_jobs(
            dispatch.CeleryDispatcher(control.client_app()), session.info.get("jobs_to_send", ())
        )
    except HomeostatError as error:
        log.warning("Not recorded yet: %s (%s)", failure.message, error)
        return False
    return True


def report_or_keep(failure: Failure, *, sighting: str) -> None:
    """Record the failure now, or keep it in the state folder until the store is back."""
    if not report_failure(failure, sighting=sighting):
        spool.keep(failure, sighting=sighting)
