"""The queue `models`: trainings in processes of their own, and what the deep models say.

A training leaves with its process. A deep champion stays loaded in this queue's worker, which is
the only one that PyTorch may grow: loading it anew every minute would take longer than asking it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

from homeostat import registry
from homeostat.clock import from_iso, utcnow
from homeostat.settings import settings
from homeostat.store.database import reading
from homeostat.store.jobs import OPEN_STATES, Job
from workers.app import app
from workers.base import HomeostatTask

if TYPE_CHECKING:
    from homeostat.trading.retraining_orchestrator import RetrainingOrchestrator

log = logging.getLogger(__name__)

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


#: Seconds for one batch of predictions; the first one loads PyTorch.
PREDICT_LIMIT_S = 50


@app.task(
    name="models.predict",
    bind=True,
    soft_time_limit=PREDICT_LIMIT_S,
    time_limit=PREDICT_LIMIT_S + 10,
)
def predict(
    self: HomeostatTask,
    due_at: str | None = None,
    job_id: str | None = None,
    **_newer: object,
) -> dict[str, int] | None:
    """Let every deep champion say what it expects, for the flow to read; None without one.

    Returns the number of symbols that each said something of; a repeated message says nothing new.
    """
    from homeostat.trading import predicting
    from homeostat.trading.market import port
    from homeostat.trading.models.agent import ModelUnavailableError
    from homeostat.trading.models.artifacts import ArtifactError
    from homeostat.trading.models.features import NEED_BARS

    del job_id
    with reading() as session:
        asked = predicting.champions(session)
        session.expunge_all()
    if not asked:
        return None
    moment = from_iso(due_at) if due_at else utcnow()
    panel = port.market(settings()).panel(moment, NEED_BARS)
    found = {}
    for champion in asked:
        try:
            said = predicting.foretell(champion, panel, moment)
        except (ModelUnavailableError, ArtifactError) as error:
            # The flow abstains once the last batch is stale; that is the louder sign.
            log.warning("%s said nothing: %s", champion.name, error)
            continue
        with self.unit_of_work() as session:
            predicting.keep(session, said)
        found[champion.name] = len(said.rises)
    return found


@app.task(name="models.watch", bind=True, soft_time_limit=LIMIT_S, time_limit=LIMIT_S + 10)
def watch(
    self: HomeostatTask, artifact: str, at: str, job_id: str | None = None, **_newer: object
) -> None:
    """Judge a deep challenger's shadow, which takes its library; the judgement is kept."""
    from homeostat.store.trading import ModelArtifact
    from homeostat.trading.market import port
    from homeostat.trading.models import shadow

    panel = port.market(settings()).panel(from_iso(at), shadow.BARS)
    with self.long_job(job_id) as job:
        if job is None:
            return
        with reading() as session:
            seen = shadow.judge(session, session.get_one(ModelArtifact, artifact), panel)
        with job.ending() as session:
            kept = session.get_one(ModelArtifact, artifact)
            kept.metrics = {**kept.metrics, **seen}
