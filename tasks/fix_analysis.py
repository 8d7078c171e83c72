"""The fix-analysis queue: one analysis per opened incident, and remedies asked for by name.

A remedy may restart processes and a proof may run a test suite, so neither is done inside a
transaction: each step of the incident is a compare-and-set of its own, and a worker that dies
between two steps leaves a job row that is sent again and goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.incidents import background, lifecycle
from homeostat.incidents.lifecycle import State
from homeostat.repair.remedy import Cause, RemedyOutcome, cause_of
from homeostat.store import jobs
from workers.app import app
from workers.base import HomeostatTask

if TYPE_CHECKING:
    from homeostat.kernels.self_healing import SelfHealing

ACTOR = "fix_analysis"
#: Seconds for one analysis; a proof that runs a whole suite is the longest part of it.
SOFT_LIMIT_S = 540
HARD_LIMIT_S = 600
HARD_LIMIT = timedelta(seconds=HARD_LIMIT_S)


class AnalysisTask(HomeostatTask):
    """A task that changes the system: its message must be signed."""

    abstract = True
    signed: ClassVar[bool] = True

    def record_failure(
        self, session: Session, error: BaseException, kwargs: Mapping[str, Any]
    ) -> None:
        """Hand the incident whose analysis broke to a person."""
        if incident_id := kwargs.get("incident_id"):
            detail = {"reason": f"its analysis failed: {type(error).__name__}: {error}"}
            lifecycle.transition(
                session, str(incident_id), State.ESCALATED, actor=ACTOR, detail=detail
            )


def self_healing() -> SelfHealing:
    """Return the kernel that carries out playbooks."""
    return cast("SelfHealing", registry.find("kernels.self_healing"))


@app.task(
    name="fix_analysis.analyse",
    base=AnalysisTask,
    bind=True,
    soft_time_limit=SOFT_LIMIT_S,
    time_limit=HARD_LIMIT_S,
)
def analyse(
    self: AnalysisTask, incident_id: str, job_id: str | None = None, **_newer: object
) -> None:
    """Find a remedy for the incident: a known playbook, else a person, visibly."""
    cause = _begin(self, incident_id, job_id)
    if cause is not None:
        _look_around(self, incident_id)
        _end(self, incident_id, job_id, self_healing().remedy(cause))


def _begin(task: AnalysisTask, incident_id: str, job_id: str | None) -> Cause | None:
    """Take the incident up; None where another message's analysis did, or it is over."""
    with task.unit_of_work() as session:
        if job_id is not None and jobs.start(session, job_id, busy_for=HARD_LIMIT) is None:
            return None
        taken = lifecycle.transition(
            session, incident_id, State.ANALYSING, actor=ACTOR, expected=(State.OPEN,)
        )
        incident = lifecycle.find(session, incident_id)
        # The job's row is open and the analysis begun: its worker died, and this one resumes.
        if taken or (job_id is not None and incident.state == State.ANALYSING):
            return cause_of(incident)
        if job_id is not None:
            jobs.finish(session, job_id)
        return None


def _look_around(task: AnalysisTask, incident_id: str) -> None:
    """Add to the bundle what was too slow to gather beside the failing task."""
    found = background.look_around()
    with task.unit_of_work() as session:
        background.enrich(session, lifecycle.find(session, incident_id), found)


def _end(task: AnalysisTask, incident_id: str, job_id: str | None, outcome: RemedyOutcome) -> None:
    """Resolve on a verified remedy, else escalate; the job ends in the same transaction."""
    detail: dict[str, JsonValue] = {
        "playbook": outcome.playbook,
        "evidence": list(outcome.evidence),
    }
    if outcome.verified:
        state = State.RESOLVED
    else:
        state, detail["reason"] = State.ESCALATED, outcome.escalate_reason
    with task.unit_of_work() as session:
        lifecycle.transition(
            session, incident_id, state, actor=ACTOR, expected=(State.ANALYSING,), detail=detail
        )
        if job_id is not None:
            jobs.finish(session, job_id)


@app.task(
    name="fix_analysis.remedy",
    base=AnalysisTask,
    bind=True,
    soft_time_limit=SOFT_LIMIT_S,
    time_limit=HARD_LIMIT_S,
)
def remedy(self: AnalysisTask, run_id: str, job_id: str | None = None, **_newer: object) -> None:
    """Carry out a remedy that was asked for outside an incident."""
    with self.unit_of_work() as session:
        if job_id is not None and jobs.start(session, job_id, busy_for=HARD_LIMIT) is None:
            return
    self_healing().carry_out(run_id)
    with self.unit_of_work() as session:
        if job_id is not None:
            jobs.finish(session, job_id)
