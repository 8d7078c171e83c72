"""Training of models: in a process of its own, so that no ticking worker grows by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from homeostat import registry
from homeostat.clock import from_iso
from homeostat.store.database import reading
from homeostat.store.jobs import OPEN_STATES, Job
from workers.app import app
from workers.base import HomeostatTask

if TYPE_CHECKING:
    from homeostat.trading.retraining_orchestrator import RetrainingOrchestrator

ORCHESTRATOR = "trading.retraining_orchestrator"

#: Seconds for one training; N-HiTS and PatchTST on 222 symbols are the longest.
LIMIT_S = 900


@app.task(name="models.train", bind=True, soft_time_limit=LIMIT_S, time_limit=LIMIT_S + 10)
def train(
    self: HomeostatTask,
    model: str,
    at: str,
    reasons: list[str],
    job_id: str | None = None,
    **_newer: object,
) -> str | None:
    """Train a challenger as of that moment and keep it; returns its id, or None without one."""
    from homeostat.trading.models import apart
    from homeostat.trading.models.agent import ModelUnavailableError

    if job_id is not None:
        with reading() as session:
            job = session.get(Job, job_id)
            if job is None or job.state not in OPEN_STATES:
                return None
    made: apart.Made | str
    try:
        made = apart.train(model, from_iso(at))
    except ModelUnavailableError as error:
        made = f"{error.reason}: {error}"
    except ValueError as error:
        made = f"NO_DATA: {error}"
    with self.job(job_id) as session:
        if session is None:
            return None
        orchestrator = cast("RetrainingOrchestrator", registry.find(ORCHESTRATOR))
        artifact = orchestrator.take_in(session, model, made, reasons)
        return artifact.id if artifact else None
