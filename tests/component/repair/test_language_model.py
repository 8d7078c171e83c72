"""The language model behind its port: what its patch may become, and how each bad answer ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from homeostat import registry
from homeostat.repair.agent import Apply, Options, RepairOutcome, Status, fix
from homeostat.repair.language_model.loopback import LoopbackModel, Manner
from homeostat.repair.sandbox import Isolation, detect_isolation
from homeostat.settings import settings
from homeostat.store.database import transaction
from tests.component.repair.conftest import begin, git, write

pytestmark = pytest.mark.skipif(
    detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
)

#: Wrong arithmetic, which no strategy knows: only a model can propose a patch.
BROKEN = {
    "shop.py": "def half(price):\n    return price * 2\n",
    "user.py": "import shop\n\nassert shop.half(4) == 2, 'key sk-test-4242424242424242'\n",
}
GOOD = json.dumps(
    {"title": "Halve", "edits": [{"path": "shop.py", "old": "price * 2", "new": "price / 2"}]}
)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    write(folder, BROKEN)
    return begin(folder)


Mend = Callable[[LoopbackModel], RepairOutcome]


@pytest.fixture
def mend(repository: Path, sqlite_store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mend]:
    del sqlite_store
    monkeypatch.setenv("HOMEOSTAT_LLM_MODEL", "small")
    monkeypatch.setenv("HOMEOSTAT_LLM_TIMEOUT_S", "0.5")
    settings.cache_clear()

    def run(model: LoopbackModel) -> RepairOutcome:
        monkeypatch.setenv("HOMEOSTAT_LLM_URL", model.url)
        settings.cache_clear()
        return fix(repository, "python user.py", Options(apply=Apply.POLICY))

    yield run
    settings.cache_clear()


def test_its_proven_patch_waits_for_a_person(mend: Mend, repository: Path) -> None:
    with LoopbackModel(Manner.ANSWERS, GOOD) as model:
        outcome = mend(model)
    assert outcome.status is Status.WAITING
    assert outcome.chosen is not None
    assert outcome.chosen.candidate.origin.value == "llm"
    assert "price * 2" in (repository / "shop.py").read_text()


def test_it_is_not_asked_unless_an_address_is_set(repository: Path) -> None:
    assert not settings().llm_url
    outcome = fix(repository, "python user.py", Options(apply=Apply.POLICY))
    assert outcome.status is Status.NONE_FOUND


@pytest.mark.parametrize(
    ("manner", "text", "reason"),
    [
        (Manner.ANSWERS, "Surely! Here is the patch:", "the answer is no patch"),
        (Manner.ANSWERS, '{"title": "No edits"}', "the answer is no patch"),
        (Manner.ANSWERS, GOOD.replace("shop.py", "../shop.py"), "outside the repository"),
        (Manner.ANSWERS, GOOD.replace("shop.py", "/etc/passwd"), "outside the repository"),
        (Manner.ANSWERS, GOOD.replace("shop.py", "sold.py"), "which is not there"),
        (Manner.ANSWERS, GOOD.replace("price * 2", "price * 3"), "stands 0 times"),
        (Manner.ANSWERS, GOOD.replace("price / 2", "2"), "it hard-codes a result"),
        (Manner.ANSWERS, GOOD.replace("price / 2", "price / 3"), "the command still fails"),
        (Manner.HUGE, "", "longer than 512 KiB"),
        (Manner.HANGS, "", "did not answer in 0.5 s"),
        (Manner.TRICKLES, "", "did not answer in 0.5 s"),
        (Manner.TOO_MANY, "", "429"),
        (Manner.BROKEN, "", "answered 500"),
        (Manner.NO_COMPLETION, "", "no chat completion"),
    ],
)
def test_a_bad_answer_ends_as_a_refused_candidate(
    manner: Manner, text: str, reason: str, mend: Mend
) -> None:
    with LoopbackModel(manner, text) as model:
        outcome = mend(model)
    assert outcome.status is Status.REFUSED
    assert reason in outcome.refused[-1].proof.refusal


def test_a_server_that_is_not_there_is_a_reason_too(mend: Mend) -> None:
    with LoopbackModel(Manner.ANSWERS, GOOD) as model:
        pass
    assert "cannot be reached" in mend(model).refused[-1].proof.refusal


def test_no_secret_leaves_with_the_question(mend: Mend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_API_TOKEN", "sk-test-4242424242424242")
    with transaction() as session:
        manager = registry.find("kernels.secret_manager")
        manager.store(session, "model", "the-models-own-key", actor="test")  # type: ignore[attr-defined]  # the kernel's own door
    monkeypatch.setenv("HOMEOSTAT_LLM_KEY", "secret://model")
    with LoopbackModel(Manner.ANSWERS, GOOD) as model:
        mend(model)
    told = json.dumps(model.questions)
    assert "shop.half(4)" in told
    assert "4242424242424242" not in told
    assert "the-models-own-key" not in told
    assert model.keys == ["Bearer the-models-own-key"]


def test_it_is_asked_no_more_often_than_its_budget(
    mend: Mend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEOSTAT_LLM_CALLS_PER_INCIDENT", "1")
    with LoopbackModel(Manner.ANSWERS, "no patch") as model:
        mend(model)
        again = mend(model)
    assert len(model.questions) == 1
    assert "budget of 1 calls" in again.refused[-1].proof.refusal


def test_the_tokens_of_a_day_are_bounded(mend: Mend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEOSTAT_LLM_TOKENS_PER_DAY", "50")
    with LoopbackModel(Manner.ANSWERS, "no patch", tokens=60) as model:
        mend(model)
        again = mend(model)
    assert len(model.questions) == 1
    assert "(day)" in again.refused[-1].proof.refusal


def test_a_patch_that_goes_around_the_failing_statement_is_refused(
    mend: Mend, repository: Path
) -> None:
    # No type checker sees what is called here.
    failing = "    return globals()['scaled'](price, by=price)"
    source = f"def half(price):\n{failing}\n\n\ndef scaled(price, one, two):\n    return one\n"
    write(repository, {"shop.py": source})
    git(repository, "commit", "-q", "-a", "-m", "Broken by a call")
    around = f"    if price:\n        return price / 2\n{failing}"
    edit = {"path": "shop.py", "old": failing, "new": around}
    with LoopbackModel(Manner.ANSWERS, json.dumps({"title": "Around", "edits": [edit]})) as model:
        outcome = mend(model)
    assert outcome.status is Status.REFUSED
    assert "is not reached any more" in outcome.refused[-1].proof.refusal
