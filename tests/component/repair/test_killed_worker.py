"""The fix worker is killed after each step: nothing is half done, and another goes on."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from homeostat.kernels.coding_agent import mending, watching
from homeostat.kernels.coding_agent.committing import committed
from homeostat.repair.apply import revert_commit
from homeostat.repair.knowledge import Knowledge
from homeostat.repair.sandbox import Isolation, detect_isolation
from homeostat.store import database
from homeostat.store.incidents import RepairAttempt
from homeostat.store.jobs import Job
from homeostat.store.repair import Repair
from tasks import fix_analysis
from tests.component.repair.conftest import MakeRepository, git
from tests.component.repair.live_scenes import (
    TILL,
    agent,
    analysis_job,
    failed_import,
    now_of,
    repair_of,
    runs_well,
)
from tests.conftest import forget_settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
    ),
]

#: An analysis that mends has more steps than the first figure and fewer than the second; so has a
#: look that takes a fix back. The last one tried must therefore end by itself.
ANALYSIS_STEPS, LOOK_STEPS = (12, 20), (3, 6)


def killed(step: int, task: Callable[..., None], **given: str) -> bool:
    """Run a task's body in a child that is killed after so many steps; True where it was.

    A step is a commit to the store, the fix's commit, and the commit that takes it back.
    """
    pid = os.fork()
    if pid == 0:
        os._exit(_run_until(step, task, given))
    status = os.waitpid(pid, 0)[1]
    assert os.waitstatus_to_exitcode(status) in {0, -signal.SIGKILL}
    return status != 0


def _run_until(last: int, task: Callable[..., None], given: Mapping[str, str]) -> int:
    taken = 0

    def step(*_: object) -> None:
        nonlocal taken
        taken += 1
        if taken == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def and_step(function: Callable[..., Any]) -> Callable[..., Any]:
        def did(*words: object, **named: object) -> object:
            result = function(*words, **named)
            step()
            return result

        return did

    # The child alone sees these: it ends with the task.
    vars(mending)["committed"] = and_step(committed)
    vars(watching)["revert_commit"] = and_step(revert_commit)
    event.listen(Session, "after_commit", step)
    try:
        task(**given)
    except Exception:  # noqa: BLE001  # the parent reads the code, a person the text
        traceback.print_exc()
        return 1
    return 0


@pytest.fixture
def repository(make_mendable: MakeRepository) -> Path:
    return make_mendable(TILL)


def fixes(repository: Path) -> list[str]:
    """The subjects of the commits since the defect, newest first."""
    return git(repository, "log", "--format=%s").splitlines()[:-1]


def killed_where_it_has_a_step(
    step: int, steps: tuple[int, int], task: Callable[..., None], **given: str
) -> None:
    """Kill a task's body after a step; one beyond its last leaves it to end by itself."""
    was = killed(step, task, **given)
    assert was or step > steps[0], "it ended before it could be killed"
    assert not was or step < steps[1], "it has more steps than are tried"


@pytest.mark.parametrize("step", range(1, ANALYSIS_STEPS[1] + 1))
def test_killed_after_any_step_of_an_analysis_another_worker_goes_on(
    step: int, repository: Path
) -> None:
    incident = failed_import()
    job = analysis_job(incident)
    given = {"incident_id": incident.id, "job_id": job}
    killed_where_it_has_a_step(step, ANALYSIS_STEPS, fix_analysis.analyse, **given)
    assert git(repository, "status", "--porcelain") == ""
    fix_analysis.analyse(incident_id=incident.id, job_id=job)
    assert now_of(incident).state == "verifying", repair_of(incident).story
    assert len(fixes(repository)) == 1, "one fix, however often it was begun"
    with database.reading() as session:
        assert len(session.scalars(select(RepairAttempt)).all()) == 1, "and one charge"
        assert session.get_one(Job, job).state == "done"
    runs_well(incident)
    assert agent().look(repair_of(incident).id) is None
    assert now_of(incident).state == "resolved"


def test_two_workers_that_are_given_the_same_analysis_make_one_fix(
    make_repository: MakeRepository, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store
    repository = make_repository(TILL)
    monkeypatch.setenv("HOMEOSTAT_REPOSITORY", str(repository))
    forget_settings()
    incident = failed_import()
    given = {"incident_id": incident.id, "job_id": analysis_job(incident)}
    children = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            os._exit(_run_until(0, fix_analysis.analyse, given))
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    assert len(fixes(repository)) == 1
    assert git(repository, "status", "--porcelain") == ""
    with database.reading() as session:
        assert len(session.scalars(select(RepairAttempt)).all()) == 1
        [repair] = session.scalars(select(Repair)).all()
    assert (repair.status, now_of(incident).state) == ("applied", "verifying")


@pytest.mark.parametrize("step", range(1, LOOK_STEPS[1] + 1))
def test_killed_after_any_step_of_a_taking_back_another_worker_ends_it(
    step: int, repository: Path
) -> None:
    incident = failed_import()
    fix_analysis.analyse(incident_id=incident.id, job_id=analysis_job(incident))
    repair = repair_of(incident)
    with database.transaction() as session:
        row = session.merge(repair)
        row.watch = {**row.watch, "replay": "it fails again"}
    killed_where_it_has_a_step(step, LOOK_STEPS, fix_analysis.watch, repair_id=repair.id)
    agent().look(repair.id)
    assert [subject.startswith("Take back") for subject in fixes(repository)] == [True, False]
    assert git(repository, "status", "--porcelain") == ""
    assert (repository / "shop/__init__.py").read_text() == TILL["shop/__init__.py"]
    assert now_of(incident).state == "escalated"
    assert [fix.failures for fix in Knowledge(database.engine()).fixes()] == [1]
