"""How a door sends job rows that it wrote; Celery is loaded when the first one is sent."""

from __future__ import annotations

from collections.abc import Iterable


def send(job_ids: Iterable[str]) -> None:
    """Send the messages of job rows at once; where no broker answers, the sweeper does later."""
    if ids := tuple(job_ids):
        from workers import control, dispatch

        dispatch.send_jobs(dispatch.CeleryDispatcher(control.client_app()), ids)
