"""From an incident to a fix in force: each step on the row, in the log, and on the timeline."""

from __future__ import annotations

from pathlib import Path

import pytest

from homeostat.repair import analysis
from homeostat.repair.knowledge import Knowledge
from homeostat.repair.sandbox import Isolation, detect_isolation
from homeostat.store import database
from homeostat.store.incidents import Incident
from tasks import fix_analysis
from tests.component.repair.conftest import MakeRepository, git
from tests.component.repair.live_scenes import (
    EVIDENT,
    TESTS,
    agent,
    analysis_job,
    break_again,
    now_of,
    repair_of,
    runs_well,
    states,
    strike,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
    ),
]


@pytest.fixture
def repository(make_mendable: MakeRepository) -> Path:
    """A broken shop that the agent may mend."""
    return make_mendable(EVIDENT | TESTS)


def analyse(incident: Incident) -> None:
    fix_analysis.analyse(incident_id=incident.id, job_id=analysis_job(incident))


def test_a_failing_task_is_mended_and_resolved_once_it_ran_with_the_new_code(
    repository: Path,
) -> None:
    incident = strike()
    analyse(incident)
    repair = repair_of(incident)
    assert (repair.status, now_of(incident).state) == ("applied", "verifying"), repair.outcome
    assert git(repository, "log", "-1", "--format=%H") == repair.commit
    assert "import math" in (repository / "shop/prices.py").read_text()
    assert agent().look(repair.id) is not None, "nothing ran yet: it is looked at again"
    assert now_of(incident).state == "verifying"
    runs_well(incident)
    assert agent().look(repair.id) is None
    assert states(incident) == [
        "open", "analysing", "proposed", "applying", "verifying", "resolved",
    ]  # fmt: skip
    assert Knowledge(database.engine()).fixes()[0].successes == 1


def test_the_same_failure_again_is_mended_from_knowledge_before_any_playbook(
    repository: Path,
) -> None:
    first = strike()
    analyse(first)
    runs_well(first)
    agent().look(repair_of(first).id)
    break_again(repository, EVIDENT)
    again = strike()
    assert again.openings == 2
    with database.reading() as session:
        assert analysis.analyse(session, again.id).route is analysis.Route.REPLAY
    analyse(again)
    repair = repair_of(again)
    assert repair.outcome["from_knowledge"] is True
    runs_well(again)
    assert agent().look(repair.id) is None, (
        "the tests behind the replay ran, and showed nothing new"
    )
    assert now_of(again).state == "resolved", repair_of(again).watch
    assert Knowledge(database.engine()).fixes()[0].successes == 2
