"""The coding agent and a language model, from incident on: off, asked, and never let in unasked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from homeostat.incidents.call import Call
from homeostat.incidents.failure import Failure, Source
from homeostat.incidents.raised import Frame, Raised
from homeostat.incidents.recognition import report
from homeostat.repair.language_model.loopback import LoopbackModel, Manner
from homeostat.repair.sandbox import Isolation, detect_isolation
from homeostat.store import database, track_records
from homeostat.store.approvals import Approval, ApprovalState
from homeostat.store.incidents import Incident, TimelineEntry
from tasks import fix_analysis
from tests.component.repair.conftest import MakeRepository, git
from tests.component.repair.live_scenes import agent, analysis_job, now_of, repair_of
from tests.conftest import forget_settings

pytestmark = pytest.mark.skipif(
    detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
)

#: Wrong arithmetic, which no strategy knows.
HALVES = (
    "def half(price):\n    found = price * 2\n"
    "    if found > price:\n        raise ValueError('more than the whole')\n    return found\n"
)
#: What a patch in the sandbox would leave outside, were it let.
OUTSIDE = Path("/var/tmp/homeostat-a-models-patch-was-here")  # noqa: S108 - must never come to be


def answer(old: str, new: str, path: str = "halves.py") -> str:
    """What the model says: one edit."""
    return json.dumps({"title": "Halve", "edits": [{"path": path, "old": old, "new": new}]})


GOOD = answer("price * 2", "price / 2")
HOSTILE = answer("def half", f"open({str(OUTSIDE)!r}, 'w').write('out')\n\n\ndef half")
Ask = Callable[[LoopbackModel], None]


@pytest.fixture
def repository(make_mendable: MakeRepository) -> Path:
    return make_mendable({"halves.py": HALVES})


@pytest.fixture
def ask(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    assert repository

    def told(model: LoopbackModel) -> None:
        monkeypatch.setenv("HOMEOSTAT_LLM_URL", model.url)
        monkeypatch.setenv("HOMEOSTAT_LLM_MODEL", "small")
        monkeypatch.setenv("HOMEOSTAT_LLM_TIMEOUT_S", "0.5")
        forget_settings()

    return told


def pursued(caller: str = "sell") -> Incident:
    """Let a task fail, called by somebody, and its incident be analysed."""
    frames = tuple(
        Frame("halves", name, "halves.py", 4, "raise ValueError(", True)
        for name in (caller, "half")
    )
    chain = (Raised("ValueError", "more than the whole", frames),)
    call = Call("halves", "half", (4,), {})
    failure = Failure(Source.TASK, "shop", "shop", chain, "the file's hash", call=call)
    with database.transaction() as session:
        incident = report(session, failure)
    fix_analysis.analyse(incident_id=incident.id, job_id=analysis_job(incident))
    return incident


def reason_of(incident: Incident) -> str:
    """Why the incident is a person's."""
    with database.reading() as session:
        statement = select(TimelineEntry.detail).where(
            TimelineEntry.incident_id == incident.id,
            TimelineEntry.to_state.in_(["escalated", "awaiting_approval"]),
        )
        return str(session.scalars(statement).one()["reason"])


def untouched(repository: Path) -> bool:
    commits = git(repository, "log", "--format=%s").splitlines()
    return len(commits) == 1 and (repository / "halves.py").read_text() == HALVES


def test_it_is_off_unless_an_address_is_set(repository: Path) -> None:
    with LoopbackModel(Manner.ANSWERS, GOOD) as model:
        incident = pursued()
    assert model.questions == []
    assert now_of(incident).state == "escalated"
    assert untouched(repository)


def test_its_proven_patch_waits_until_a_person_applies_it(repository: Path, ask: Ask) -> None:
    with LoopbackModel(Manner.ANSWERS, GOOD) as model:
        ask(model)
        incident = pursued()
    repair = repair_of(incident)
    assert (now_of(incident).state, repair.status) == ("awaiting_approval", "waiting")
    assert untouched(repository)
    with database.reading() as session:
        approval = session.get_one(Approval, repair.approval_id)
        assert approval.state == ApprovalState.PENDING
        assert "price / 2" in approval.plan
    agent().approve(repair.id, "Ann")
    assert "price / 2" in (repository / "halves.py").read_text()
    assert "Approved by: Ann" in git(repository, "log", "-1", "--format=%B")


def test_not_even_a_signature_that_was_mended_thrice_lets_it_in(repository: Path, ask: Ask) -> None:
    with LoopbackModel(Manner.ANSWERS, GOOD) as model:
        ask(model)
        first = repair_of(pursued())
        with database.transaction() as session:
            for _ in range(3):
                track_records.note(session, "fix.apply", first.replay_key, succeeded=True)
        again = pursued("sell_again")
    assert repair_of(again).id != first.id
    assert repair_of(again).replay_key == first.replay_key
    assert now_of(again).state == "awaiting_approval"
    assert untouched(repository)


def test_what_a_person_refused_is_not_proposed_again(repository: Path, ask: Ask) -> None:
    with LoopbackModel(Manner.ANSWERS, GOOD) as model:
        ask(model)
        agent().reject(repair_of(pursued()).id, "Ann", "half of what?")
        again = pursued("sell_again")
    assert now_of(again).state == "escalated", repair_of(again).story
    assert untouched(repository)


@pytest.mark.parametrize(
    ("manner", "text", "said"),
    [
        (Manner.ANSWERS, "Gladly! Divide by two.", "the answer is no patch"),
        (Manner.ANSWERS, answer("price * 2", "price / 2", "../x.py"), "outside the repository"),
        (Manner.ANSWERS, answer("raise ValueError('more than the whole')", "pass"), "scope"),
        (Manner.ANSWERS, answer("price * 2", "price * 3"), "the command still fails"),
        (Manner.HANGS, "", "did not answer in 0.5 s"),
        (Manner.BROKEN, "", "answered 500"),
    ],
)
def test_a_bad_answer_leaves_the_incident_to_a_person_with_the_reason(
    repository: Path, ask: Ask, manner: Manner, text: str, said: str
) -> None:
    with LoopbackModel(manner, text) as model:
        ask(model)
        incident = pursued()
    assert now_of(incident).state == "escalated"
    assert said in reason_of(incident)
    assert untouched(repository)


def test_an_endpoint_that_is_down_leaves_it_to_a_person(repository: Path, ask: Ask) -> None:
    with LoopbackModel(Manner.ANSWERS, GOOD) as model:
        ask(model)
    incident = pursued()
    assert now_of(incident).state == "escalated"
    assert "cannot be reached" in reason_of(incident)
    assert untouched(repository)


def test_a_hostile_patch_harms_nothing_while_it_is_tried(repository: Path, ask: Ask) -> None:
    hostile = json.loads(HOSTILE)
    hostile["edits"].append(json.loads(GOOD)["edits"][0])
    with LoopbackModel(Manner.ANSWERS, json.dumps(hostile)) as model:
        ask(model)
        incident = pursued()
    assert now_of(incident).state in {"awaiting_approval", "escalated"}
    assert not OUTSIDE.exists()
    assert untouched(repository)
