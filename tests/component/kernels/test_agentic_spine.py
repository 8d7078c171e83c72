from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.incidents import lifecycle
from homeostat.incidents.failure import Failure
from homeostat.incidents.lifecycle import State
from homeostat.incidents.recognition import ANALYSE, report
from homeostat.kernels.agentic_spine import AgenticSpine
from homeostat.kernels.memory_fusion import MemoryFusion, Source
from homeostat.store import audit, plans
from homeostat.store.database import transaction
from homeostat.store.incidents import Incident
from homeostat.store.jobs import Job
from homeostat.store.plans import IncidentPlan, PlanState, Route
from homeostat.store.remedies import RemedyRun
from homeostat.testing import check_contract
from tasks import fix_analysis
from tests.conftest import forget_settings

pytestmark = pytest.mark.usefixtures("sqlite_store")


@pytest.fixture
def spine() -> AgenticSpine:
    return the_spine()


def the_spine() -> AgenticSpine:
    found = registry.find("kernels.agentic_spine")
    assert isinstance(found, AgenticSpine)
    return found


def known_failure(session: Session, severity: str = "critical") -> Incident:
    failure = Failure.without_frames("WorkerLostError", "It ended.", "worker", "workers.main")
    return report(session, failure, severity=severity)


def failure_in_code(session: Session, severity: str = "critical") -> Incident:
    def broken() -> None:
        raise KeyError("atr")

    try:
        broken()
    except KeyError as error:
        failure = Failure.from_exception(error, source="task", component="trading.x")
    return report(session, failure, severity=severity)


def strange_failure(session: Session, severity: str = "critical") -> Incident:
    failure = Failure.without_frames("OddError", "Nobody knows.", "worker", "workers.main")
    return report(session, failure, severity=severity)


@pytest.mark.usefixtures("store")
def test_it_keeps_the_contract() -> None:
    with transaction() as session:
        check_contract(the_spine(), session)
        assert session.scalars(select(IncidentPlan)).all() == []
        assert session.scalars(select(Incident)).all() == []


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the coding agent may mend; the spine does not look into it."""
    monkeypatch.setenv("HOMEOSTAT_REPOSITORY", str(tmp_path))
    forget_settings()
    return tmp_path


@pytest.mark.usefixtures("repository")
def test_three_kinds_of_incidents_take_three_routes() -> None:
    spine = the_spine()
    with transaction() as session:
        assert spine.probe(session).passed
        known, coded, strange = (
            make(session) for make in (known_failure, failure_in_code, strange_failure)
        )
        assert spine.run(session, utcnow()).observed["planned"] == 3
        routes = {plan.incident_id: plan.route for plan in session.scalars(select(IncidentPlan))}
        assert routes == {
            known.id: Route.PLAYBOOK,
            coded.id: Route.CODING_AGENT,
            strange.id: Route.PERSON,
        }
        assert lifecycle.find(session, strange.id).state == State.ESCALATED
        assert lifecycle.find(session, known.id).state == State.OPEN


def test_code_that_nobody_may_mend_belongs_to_a_person(spine: AgenticSpine) -> None:
    with transaction() as session:
        plan = spine.plan(session, failure_in_code(session))
        assert plan.route == Route.PERSON
        assert "HOMEOSTAT_REPOSITORY" in plan.reason


def test_what_runs_by_itself_was_agreed_to_and_the_agreement_is_in_the_log(
    spine: AgenticSpine,
) -> None:
    with transaction() as session:
        plan = spine.plan(session, known_failure(session))
        assert plan.cosigned_by == "kernels.governance"
        rows = [row for row in audit.rows_after(session, 0) if row.resource == "plan.playbook"]
        assert [row.action for row in rows] == ["governance.allow"]


def test_without_governance_s_agreement_a_person_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOMEOSTAT_MODE", "OBSERVE")
    forget_settings()
    with transaction() as session:
        incident = known_failure(session)
        plan = the_spine().plan(session, incident)
        assert (plan.route, plan.state) == (Route.PERSON, PlanState.ESCALATED)
        assert "OBSERVE" in plan.reason
        assert the_spine().probe(session).passed, "and the probe knows that this is right"


def test_an_opening_has_one_plan_and_one_analysis(spine: AgenticSpine) -> None:
    with transaction() as session:
        incident = known_failure(session)
        first = spine.plan(session, incident)
        assert spine.plan(session, incident).id == first.id
        assert spine.run(session, utcnow()).observed["planned"] == 0
        jobs = session.scalars(select(Job.id).where(Job.task == ANALYSE)).all()
        assert len(jobs) == 1, "recognition and the spine ask for the same analysis"


def test_a_reopened_incident_is_planned_anew(spine: AgenticSpine) -> None:
    with transaction() as session:
        incident = known_failure(session)
        spine.plan(session, incident)
        lifecycle.resolve(session, incident.id, actor="test")
        assert spine.run(session, utcnow()).observed["done"] == 1
        lifecycle.reopen(session, incident.id, actor="test")
        assert spine.run(session, utcnow()).observed["planned"] == 1
        assert plans.plan_of(session, incident.id, 2) is not None


def test_what_is_not_over_in_time_goes_to_a_person(spine: AgenticSpine) -> None:
    with transaction() as session:
        incident = known_failure(session)
        plan = spine.plan(session, incident)
        assert spine.follow_up(session, plan.due_at - timedelta(seconds=1)) == (0, 0)
        assert spine.follow_up(session, plan.due_at + timedelta(seconds=1)) == (0, 1)
        assert plan.state == PlanState.ESCALATED
        assert lifecycle.find(session, incident.id).state == State.ESCALATED
        assert spine.follow_up(session, plan.due_at + timedelta(days=1)) == (0, 0)


def test_the_most_severe_is_planned_first(spine: AgenticSpine) -> None:
    with transaction() as session:
        low, critical = known_failure(session, "low"), failure_in_code(session, "critical")
        spine.run(session, utcnow())
        places = {plan.incident_id: plan.position for plan in session.scalars(select(IncidentPlan))}
        assert places[critical.id] < places[low.id]


def test_a_playbook_that_did_not_last_is_not_planned_again(spine: AgenticSpine) -> None:
    memory = registry.find("kernels.memory_fusion")
    assert isinstance(memory, MemoryFusion)
    with transaction() as session:
        incident = known_failure(session)
        for number in range(3):
            source = Source(
                f"t:{number}", "incident", incident.group_key, "It ended.", "failed", utcnow()
            )
            memory.remember(session, source)
        plan = spine.plan(session, incident)
        assert plan.route == Route.PERSON
        assert "did not last" in plan.reason
        assert plan.recalled[0]["failed"] == 3


def analyse(incident: Incident) -> Incident:
    """Do what a worker does with the analysis that the incident's opening asked for."""
    with transaction() as session:
        key = f"{ANALYSE}:{incident.id}:{incident.openings}"
        job = session.scalar(select(Job.id).where(Job.natural_key == key))
    fix_analysis.analyse(incident_id=incident.id, job_id=job)
    with transaction() as session:
        return lifecycle.find(session, incident.id)


def failed_probe() -> Incident:
    """A failure whose playbook, restart-component, really helps."""
    failure = Failure.without_frames("ProbeFailedError", "It was.", "worker", "kernels.librarian")
    with transaction() as session:
        return report(session, failure)


def remember_failures(incident: Incident) -> None:
    memory = registry.find("kernels.memory_fusion")
    assert isinstance(memory, MemoryFusion)
    with transaction() as session:
        for number in range(3):
            key = incident.group_key
            source = Source(f"t:{number}", "incident", key, "It ended.", "failed", utcnow())
            memory.remember(session, source)


def tried() -> list[tuple[str, str]]:
    with transaction() as session:
        return [(run.playbook, run.state) for run in session.scalars(select(RemedyRun))]


def ended_plan(spine: AgenticSpine) -> IncidentPlan:
    with transaction() as session:
        spine.run(session, utcnow())
        return session.scalars(select(IncidentPlan)).one()


def test_an_analysis_goes_the_planned_way_and_the_follow_up_sees_what_came_of_it(
    spine: AgenticSpine,
) -> None:
    incident = analyse(failed_probe())
    assert (incident.state, tried()) == ("resolved", [("restart-component", "verified")])
    plan = ended_plan(spine)
    assert (plan.route, plan.state) == (Route.PLAYBOOK, PlanState.DONE)
    assert plan.cosigned_by == "kernels.governance"
    assert plan.reason.endswith("resolved by restart-component")


def test_an_analysis_tries_nothing_where_the_plan_is_a_person_s(spine: AgenticSpine) -> None:
    """The playbook would have helped this time: the plan decides, not the analysis."""
    incident = failed_probe()
    remember_failures(incident)
    incident = analyse(incident)
    assert (incident.state, tried()) == ("escalated", [])
    plan = ended_plan(spine)
    assert (plan.route, plan.state) == (Route.PERSON, PlanState.ESCALATED)
    assert "did not last" in plan.reason


@pytest.mark.usefixtures("repository")
def test_a_plan_for_the_coding_agent_leaves_the_playbook_alone_that_did_not_last() -> None:
    def broken() -> None:
        raise TimeoutError

    try:
        broken()
    except TimeoutError as error:
        failure = Failure.from_exception(error, source="task", component="kernels.librarian")
    with transaction() as session:
        incident = report(session, failure)
    remember_failures(incident)
    incident = analyse(incident)
    assert (incident.state, tried()) == ("escalated", [])
    plan = ended_plan(the_spine())
    assert (plan.route, plan.state) == (Route.CODING_AGENT, PlanState.ESCALATED)
    assert "no test in the repository" in plan.reason


def test_a_spine_that_cannot_plan_holds_no_analysis_up() -> None:
    incident = failed_probe()
    with transaction() as session:
        session.execute(text("DROP TABLE incident_plans"))
    assert analyse(incident).state == "resolved"
    assert tried() == [("restart-component", "verified")]


def test_where_a_person_decides_the_planned_way_leads_to_an_approval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOMEOSTAT_MODE", "ADVISORY")
    forget_settings()
    incident = analyse(failed_probe())
    assert (incident.state, tried()) == ("escalated", [("restart-component", "waiting")])
    plan = ended_plan(the_spine())
    assert plan.route == Route.PLAYBOOK
    assert "approve" in plan.reason
    with transaction() as session:
        assert the_spine().probe(session).passed


class SendsEverybodyToAPerson(AgenticSpine):
    def _route(self, *_given: object) -> tuple[Route, str]:
        return Route.PERSON, "always"


class NeedsNoAgreement(AgenticSpine):
    def _cosigned(self, *given: object) -> tuple[Route, str, str]:
        return given[2], "by itself", ""  # type: ignore[return-value]  # as given


class PlansAndForgets(AgenticSpine):
    def _dispatch(self, *_given: object) -> None:
        """Do nothing."""


@pytest.mark.parametrize("kind", [SendsEverybodyToAPerson, NeedsNoAgreement, PlansAndForgets])
def test_a_broken_spine_fails_its_probe(spine: AgenticSpine, kind: type[AgenticSpine]) -> None:
    with transaction() as session:
        assert not kind(spine.context).probe(session).passed
