"""The fix-analysis queue: one analysis per opened incident, its fix applied and watched, remedies.

A remedy may restart processes and a proof may run a test suite, so neither is done inside a
transaction: each step of the incident is a compare-and-set of its own, and a worker that dies
between two steps leaves a job row that is sent again and goes on from there.
"""

from __future__ import annotations

import logging
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
from homeostat.repair.ways import Way, ways_of
from homeostat.store.database import reading
from homeostat.store.plans import IncidentPlan
from workers.app import app
from workers.base import HomeostatTask, LongJob

if TYPE_CHECKING:
    from homeostat.kernels.agentic_spine import AgenticSpine
    from homeostat.kernels.coding_agent import CodingAgent
    from homeostat.kernels.self_healing import SelfHealing

_log = logging.getLogger(__name__)
ACTOR = "fix_analysis"
#: Until it is looked again at a repair that another worker holds.
BUSY_AGAIN = timedelta(seconds=30)
_UNDER_WAY = frozenset({State.ANALYSING, State.PROPOSED, State.APPLYING})


class AnalysisTask(HomeostatTask):
    """A task that changes the system: its message must be signed."""

    abstract = True
    signed: ClassVar[bool] = True
    #: Seconds for one analysis; a proof that runs a whole suite is the longest part of it.
    soft_time_limit = 540  # type: ignore[assignment]  # Celery's default is None
    time_limit = 600  # type: ignore[assignment]  # as above

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


def agentic_spine() -> AgenticSpine:
    """Return the kernel that plans which way an incident goes."""
    return cast("AgenticSpine", registry.find("kernels.agentic_spine"))


def coding_agent() -> CodingAgent:
    """Return the kernel that mends code."""
    return cast("CodingAgent", registry.find("kernels.coding_agent"))


@app.task(name="fix_analysis.analyse", base=AnalysisTask, bind=True)
def analyse(
    self: AnalysisTask, incident_id: str, job_id: str | None = None, **_newer: object
) -> None:
    """Go the way that the spine planned: a playbook, the coding agent, else a person, visibly."""
    with self.long_job(job_id) as job:
        cause = _begin(self, incident_id, job) if job else None
        if job and cause:
            _pursue(self, job, incident_id, cause)


def _pursue(task: AnalysisTask, job: LongJob, incident_id: str, cause: Cause) -> None:
    with reading() as session:
        begun = claims.begun(session, lifecycle.find(session, incident_id))
        found = analysis.analyse(session, incident_id)
    # What was begun is ended the way that it was begun.
    plan = _planned(task, incident_id) if begun is None else None
    ways = ways_of(plan)
    if begun is not None:
        found = Analysis(Route.REPLAY, "it goes on", Path(begun.repository), begun.command)
        ways = (Way.CODING_AGENT,)
    else:
        _look_around(task, incident_id)
    reasons: list[str] = []
    for way in ways:
        if way is Way.PLAYBOOK:
            outcome = self_healing().remedy(cause)
            if outcome.verified:
                _end(job, incident_id, State.RESOLVED, _told(outcome))
                return
            reasons.append(outcome.escalate_reason)
        elif found.repository is None:
            reasons.append(found.reason)
        else:
            standing = coding_agent().pursue(incident_id, found.repository, found.command)
            if standing.end == "busy":
                # The worker that is at the repair will have ended it by then, or have died.
                job.again_at = utcnow() + BUSY_AGAIN
                return
            if standing.end == "taken":
                return
            reasons.append(standing.reason)
    # Where the plan is a person's, the plan itself has handed the incident over.
    reason = "; ".join(reasons) or (plan.reason if plan else found.reason)
    _end(job, incident_id, State.ESCALATED, {"reason": reason})


def _planned(task: AnalysisTask, incident_id: str) -> IncidentPlan | None:
    """Return the co-signed plan of `kernels.agentic_spine`, which says the way to go.

    A spine that is itself what failed makes no plan: then all there is is tried.
    """
    try:
        with task.unit_of_work() as session:
            return agentic_spine().plan(session, lifecycle.find(session, incident_id))
    except Exception:  # noqa: BLE001  # whatever it is that failed in the spine
        _log.exception("The spine made no plan for incident %s.", incident_id)
        return None


def _begin(task: AnalysisTask, incident_id: str, job: LongJob) -> Cause | None:
    """Take the incident up; None where another message's analysis did, or it is over."""
    with task.unit_of_work() as session:
        taken = lifecycle.transition(
            session, incident_id, State.ANALYSING, actor=ACTOR, expected=(State.OPEN,)
        )
        incident = lifecycle.find(session, incident_id)
        # The job's row is open and the analysis begun: its worker died, and this one resumes.
        resumed = job.id is not None and incident.state in _UNDER_WAY
        return cause_of(incident) if taken or resumed else None


def _look_around(task: AnalysisTask, incident_id: str) -> None:
    """Add to the bundle what was too slow to gather beside the failing task."""
    found = background.look_around()
    with task.unit_of_work() as session:
        background.enrich(session, lifecycle.find(session, incident_id), found)


def _told(outcome: RemedyOutcome) -> dict[str, JsonValue]:
    return {"playbook": outcome.playbook, "evidence": list(outcome.evidence)}


def _end(job: LongJob, incident_id: str, state: State, detail: dict[str, JsonValue]) -> None:
    """End the analysis and the incident's part in it, in one transaction."""
    with job.ending() as session:
        lifecycle.transition(
            session, incident_id, state, actor=ACTOR, expected=(State.ANALYSING,), detail=detail
        )


@app.task(name="fix_analysis.watch", base=AnalysisTask, bind=True)
def watch(self: AnalysisTask, repair_id: str, job_id: str | None = None, **_newer: object) -> None:
    """Look at an applied fix once; the job's row is due again until its watch is over."""
    with self.long_job(job_id) as job:
        if job:
            job.again_at = coding_agent().look(repair_id)


@app.task(name="fix_analysis.apply", base=AnalysisTask, bind=True)
def apply(
    self: AnalysisTask, repair_id: str, by: str = "", job_id: str | None = None, **_newer: object
) -> None:
    """Apply a fix that a person approved, or whose application a crash cut short."""
    with self.long_job(job_id) as job:
        if job:
            coding_agent().apply(repair_id, by)


@app.task(name="fix_analysis.remedy", base=AnalysisTask, bind=True)
def remedy(self: AnalysisTask, run_id: str, job_id: str | None = None, **_newer: object) -> None:
    """Carry out a remedy that was asked for outside an incident."""
    with self.long_job(job_id) as job:
        if job:
            self_healing().carry_out(run_id)
