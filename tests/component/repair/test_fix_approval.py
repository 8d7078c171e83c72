"""Who may let a fix in: the policy, a person at the command line, a person elsewhere; or nobody."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.incidents import budgets, lifecycle
from homeostat.repair.knowledge import Knowledge
from homeostat.repair.sandbox import Isolation, detect_isolation
from homeostat.store import audit, controls, database
from homeostat.store.approvals import Approval
from homeostat.store.decisions import DecisionRecord
from homeostat.store.incidents import Incident
from homeostat.store.jobs import Job
from homeostat.store.repair import Repair
from homeostat.supervision import events
from tasks import decisions, fix_analysis
from tests.component.repair.conftest import MakeRepository, git
from tests.component.repair.live_scenes import (
    TILL,
    agent,
    analysis_job,
    failed_import,
    now_of,
    repair_of,
    states,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
    ),
]

ROOT = Path(__file__).parents[3]
Shop = Callable[..., Path]


@pytest.fixture
def shop(make_mendable: MakeRepository, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Return a function that lays out the broken shop, in a mode of governance."""

    def lay_out(mode: str = "ADVISORY") -> Path:
        monkeypatch.setenv("HOMEOSTAT_MODE", mode)
        return make_mendable(TILL)

    return lay_out


def analysed() -> Incident:
    incident = failed_import()
    fix_analysis.analyse(incident_id=incident.id, job_id=analysis_job(incident))
    return incident


def approvals() -> list[Approval]:
    with database.reading() as session:
        return list(session.scalars(select(Approval)))


def homeostat(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from homeostat.cli import main; main()", *words],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=60,
    )  # fmt: skip


def commits(repository: Path) -> int:
    return len(git(repository, "log", "--format=%s").splitlines()) - 1


def test_in_advisory_mode_a_proposal_waits_with_its_diff_and_proof(shop: Shop) -> None:
    repository = shop()
    incident = analysed()
    assert states(incident) == ["open", "analysing", "proposed", "awaiting_approval"]
    assert commits(repository) == 0
    [approval] = approvals()
    assert approval.subject == repair_of(incident).id
    for shown in ("+from .orders import Order, place", "replay: failed before", "ADVISORY"):
        assert shown in approval.plan


def test_a_person_s_approval_applies_it_and_the_whole_story_is_told(shop: Shop) -> None:
    repository = shop()
    incident = analysed()
    repair = repair_of(incident)
    done = homeostat("fix", "approve", repair.id, "--actor", "ann")
    assert done.returncode == 0, done.stderr
    assert (commits(repository), now_of(incident).state) == (1, "verifying")
    assert "Approved by: ann" in git(repository, "log", "-1", "--format=%B")
    assert [approval.state for approval in approvals()] == ["used"]
    with database.reading() as session:
        decided = [one.action for one in session.scalars(select(DecisionRecord)).all()]
        logged = {row.action for row in audit.rows_after(session, 0)}
        published = session.scalars(select(Job.kwargs).where(Job.task == events.PUBLISH)).all()
    told = [one["payload"]["step"] for one in published if one["topic"] == "fix.stepped"]
    assert sorted(f"fix.{step}" for step in told) == sorted(decided)
    assert decided == ["fix.proposed", "fix.held_back", "fix.approved", "fix.applied"]
    assert set(decided) <= logged
    shown = json.loads(homeostat("fix", "show", repair.id, "-o", "json").stdout)
    assert [step["to"] for step in shown["timeline"]][-2:] == ["applying", "verifying"]
    assert [one["action"] for one in shown["decisions"]] == decided
    assert shown["outcome"]["fix"]["proof"]["holds"]
    again = homeostat("fix", "approve", repair.id)
    assert (again.returncode, "waits for no decision" in again.stderr) == (65, True)


def test_what_is_approved_on_the_pages_is_sent_to_be_applied(shop: Shop) -> None:
    repository = shop()
    incident = analysed()
    governance = registry.find("kernels.governance")
    with database.transaction() as session:
        governance.approve(session, approvals()[0].id, by="bob")  # type: ignore[attr-defined]  # the kernel
    with database.reading() as session:
        decided = session.scalars(select(Job).where(Job.task == "fix_analysis.decided")).one()
    decisions.decided(**decided.kwargs, job_id=decided.id)
    with database.transaction() as session:
        assert agent().run(session, utcnow()).work == 0, "and asked for once"
    with database.reading() as session:
        job = session.scalars(select(Job).where(Job.task == "fix_analysis.apply")).one()
    fix_analysis.apply(**job.kwargs, job_id=job.id)
    fix_analysis.apply(**job.kwargs, job_id=job.id)
    assert (commits(repository), now_of(incident).state) == (1, "verifying")


def test_a_rejected_fix_goes_to_a_person_and_is_not_proposed_again(shop: Shop) -> None:
    repository = shop()
    incident = analysed()
    assert homeostat("fix", "reject", repair_of(incident).id, "--reason", "no").returncode == 0
    assert now_of(incident).state == "escalated"
    assert [approval.state for approval in approvals()] == ["rejected"]
    with database.transaction() as session:
        lifecycle.resolve(session, incident.id, actor="ann")
    again = analysed()
    assert again.openings == 2
    offered = repair_of(again).outcome.get("fix") or {}
    assert offered.get("diff") != Knowledge(database.engine()).fixes()[0].diff
    assert commits(repository) == 0


def test_an_approval_that_ran_out_ends_the_proposal(shop: Shop) -> None:
    shop()
    incident = analysed()
    with database.transaction() as session:
        approval = session.scalars(select(Approval)).one()
        approval.expires_at = approval.created_at
        registry.find("kernels.governance").run(session, utcnow())
        assert agent().run(session, utcnow()).observed["ended"] == 1
    assert (repair_of(incident).status, now_of(incident).state) == ("expired", "escalated")


def test_while_changes_are_frozen_an_evident_fix_waits_for_a_person(shop: Shop) -> None:
    repository = shop("ENFORCED")
    with database.transaction() as session:
        controls.set_on(session, "governance.freeze", actor="ann", reason="a release")
    incident = analysed()
    assert (commits(repository), now_of(incident).state) == (0, "awaiting_approval")
    with database.reading() as session:
        assert session.scalars(select(DecisionRecord)).all()[-1].rule == "changes are frozen"


def test_a_spent_budget_hands_the_proven_fix_to_a_person(shop: Shop) -> None:
    repository = shop("ENFORCED")
    incident = failed_import()
    for _ in range(budgets.PER_SIGNATURE):
        with database.transaction() as session:
            assert budgets.take(session, session.get_one(Incident, incident.id)).allowed
    fix_analysis.analyse(incident_id=incident.id, job_id=analysis_job(incident))
    assert (commits(repository), now_of(incident).state) == (0, "escalated")
    assert agent().approve(repair_of(incident).id, "ann").status == "applied", "who may overrule it"


@pytest.mark.parametrize("mode", ["OFF", "OBSERVE"])
def test_where_nothing_may_be_proposed_a_person_is_asked_at_once(shop: Shop, mode: str) -> None:
    shop(mode)
    incident = analysed()
    assert now_of(incident).state == "escalated"
    with database.reading() as session:
        assert session.scalars(select(Repair)).all() == []


def test_a_file_that_changed_since_the_proof_is_not_written_over(shop: Shop) -> None:
    repository = shop()
    incident = analysed()
    mine = (repository / "shop/__init__.py").read_text() + "# mine\n"
    (repository / "shop/__init__.py").write_text(mine)
    done = homeostat("fix", "approve", repair_of(incident).id)
    assert (done.returncode, "has changed since" in done.stderr) == (75, True)
    assert (repository / "shop/__init__.py").read_text() == mine
    assert now_of(incident).state == "escalated"
