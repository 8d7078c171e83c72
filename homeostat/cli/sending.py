"""How the command line sends job rows that it wrote, where a broker is there to take them."""

from __future__ import annotations

from collections.abc import Iterable


def send(job_ids: Iterable[str]) -> None:
    """Send the messages of job rows at once; where no broker answers, the sweeper does later."""
    if ids := tuple(job_ids):
        from workers import control

        control.send_jobs(ids)
