"""The fix-analysis queue: one analysis per opened incident, its fix applied and watched, remedies.

A remedy may restart processes and a proof may run a test suite, so neither is done inside a
transaction: each step of the incident is a compare-and-set of its own, and a worker that dies
between two steps leaves a job row that is sent again and goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.incidents import background, lifecycle
from homeostat.incidents.lifecycle import State
from homeostat.repair import analysis, claims, story
from homeostat.repair.analysis import Analysis, Route
from homeostat.repair.remedy import Cause, RemedyOutcome, cause_of
from homeostat.store import jobs
from homeostat.store.database import reading
from workers.app import app
from workers.base import HomeostatTask

if TYPE_CHECKING:
    from homeostat.kernels.coding_agent import CodingAgent
    from homeostat.kernels.self_healing import SelfHealing

ACTOR = "fix_analysis"
#: Seconds for one analysis; a proof that runs a whole suite is the longest part of it.
SOFT_LIMIT_S = 540
HARD_LIMIT_S = 600
HARD_LIMIT = timedelta(seconds=HARD_LIMIT_S)
#: Until it is looked again at a repair that another worker holds.
BUSY_AGAIN = timedelta(seconds=30)
_UNDER_WAY = frozenset({State.ANALYSING, State.PROPOSED, State.APPLYING})


class AnalysisTask(HomeostatTask):
    """A task that changes the system: its message must be signed."""

    abstract = True
    signed: ClassVar[bool] = True

    def record_failure(
        self, session: Session, error: BaseException, kwargs: Mapping[str, Any]
    ) -> None:
        """Hand the incident whose analysis broke to a person."""
        incident_id = kwargs.get("incident_id")
        if repair_id := kwargs.get("repair_id"):
            incident_id = story.find(session, str(repair_id)).incident_id
        if incident_id:
            detail = {"reason": f"its analysis failed: {type(error).__name__}: {error}"}
            lifecycle.transition(
                session, str(incident_id), State.ESCALATED, actor=ACTOR, detail=detail
            )


def self_healing() -> SelfHealing:
    """Return the kernel that carries out playbooks."""
    return cast("SelfHealing", registry.find("kernels.self_healing"))


def coding_agent() -> CodingAgent:
    """Return the kernel that mends code."""
    return cast("CodingAgent", registry.find("kernels.coding_agent"))


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
    """Find a remedy: a fix that is known, a playbook, the coding agent, else a person, visibly."""
    cause = _begin(self, incident_id, job_id)
    if cause is None:
        return
    with reading() as session:
        begun = claims.begun(session, lifecycle.find(session, incident_id))
        found = analysis.analyse(session, incident_id)
    if begun is not None:
        found = Analysis(Route.REPLAY, "it goes on", Path(begun.repository), begun.command)
    else:
        _look_around(self, incident_id)
    reasons: list[str] = []
    if found.route is not Route.REPLAY:
        outcome = self_healing().remedy(cause)
        if outcome.verified:
            _end(self, incident_id, job_id, State.RESOLVED, _told(outcome))
            return
        reasons.append(outcome.escalate_reason)
    if found.repository is None:
        reasons.append(found.reason)
    else:
        standing = coding_agent().pursue(incident_id, found.repository, found.command)
        if standing.end == "busy":
            _put_off(self, job_id)
            return
        if standing.end == "taken":
            _end(self, incident_id, job_id, None, {})
            return
        reasons.append(standing.reason)
    _end(self, incident_id, job_id, State.ESCALATED, {"reason": "; ".join(reasons)})


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
        if taken or (job_id is not None and incident.state in _UNDER_WAY):
            return cause_of(incident)
        if job_id is not None:
            jobs.finish(session, job_id)
        return None


def _look_around(task: AnalysisTask, incident_id: str) -> None:
    """Add to the bundle what was too slow to gather beside the failing task."""
    found = background.look_around()
    with task.unit_of_work() as session:
        background.enrich(session, lifecycle.find(session, incident_id), found)


def _told(outcome: RemedyOutcome) -> dict[str, JsonValue]:
    return {"playbook": outcome.playbook, "evidence": list(outcome.evidence)}


def _end(
    task: AnalysisTask,
    incident_id: str,
    job_id: str | None,
    state: State | None,
    detail: dict[str, JsonValue],
) -> None:
    """End the analysis, and the incident's part in it; the job ends in the same transaction."""
    with task.unit_of_work() as session:
        if state is not None:
            lifecycle.transition(
                session, incident_id, state, actor=ACTOR, expected=(State.ANALYSING,), detail=detail
            )
        if job_id is not None:
            jobs.finish(session, job_id)


def _put_off(task: AnalysisTask, job_id: str | None) -> None:
    """Look again later whether the worker that is at the repair has ended it, or has died."""
    with task.unit_of_work() as session:
        if job_id is not None:
            jobs.put_off(session, job_id, utcnow() + BUSY_AGAIN)


@app.task(
    name="fix_analysis.watch",
    base=AnalysisTask,
    bind=True,
    soft_time_limit=SOFT_LIMIT_S,
    time_limit=HARD_LIMIT_S,
)
def watch(self: AnalysisTask, repair_id: str, job_id: str | None = None, **_newer: object) -> None:
    """Look at an applied fix once; the job's row is due again until its watch is over."""
    with self.unit_of_work() as session:
        if job_id is not None and jobs.start(session, job_id, busy_for=HARD_LIMIT) is None:
            return
    again = coding_agent().look(repair_id)
    with self.unit_of_work() as session:
        if job_id is not None and again is not None:
            jobs.put_off(session, job_id, again)
        elif job_id is not None:
            jobs.finish(session, job_id)


@app.task(
    name="fix_analysis.apply",
    base=AnalysisTask,
    bind=True,
    soft_time_limit=SOFT_LIMIT_S,
    time_limit=HARD_LIMIT_S,
)
def apply(
    self: AnalysisTask, repair_id: str, by: str = "", job_id: str | None = None, **_newer: object
) -> None:
    """Apply a fix that a person approved, or whose application a crash cut short."""
    with self.unit_of_work() as session:
        if job_id is not None and jobs.start(session, job_id, busy_for=HARD_LIMIT) is None:
            return
    coding_agent().apply(repair_id, by)
    with self.unit_of_work() as session:
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
