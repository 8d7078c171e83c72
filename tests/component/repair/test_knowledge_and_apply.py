"""What is remembered is replayed, what breaks is taken back, and a crash leaves nothing half."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from homeostat.repair import decisions
from homeostat.repair.agent import Apply, Options, Status, fix
from homeostat.repair.apply import (
    ApplyError,
    commit_changes,
    fix_message,
    recover,
    revert_commit,
)
from homeostat.repair.knowledge import Knowledge, OldKnowledgeError
from homeostat.repair.outcome import RepairOutcome
from homeostat.repair.sandbox import Isolation, detect_isolation
from homeostat.repair.tree import digest
from homeostat.settings import Mode
from tests.component.repair.conftest import GOOD, MakeRepository, git, write
from tests.component.repair.test_fix import COMMAND, DRIFT

needs_sandbox = pytest.mark.skipif(
    detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
)


@pytest.fixture
def knowledge(tmp_path: Path) -> Knowledge:
    return Knowledge.at(tmp_path / "knowledge.sqlite3")


@needs_sandbox
def test_the_same_defect_again_is_mended_from_knowledge(
    make_repository: MakeRepository, knowledge: Knowledge
) -> None:
    drift = DRIFT["renamed parameter"][0]
    repository = make_repository(drift)
    options = Options(apply=Apply.POLICY, knowledge=knowledge)
    first = fix(repository, COMMAND, options)
    write(repository, drift)
    git(repository, "commit", "-q", "-am", "Drift again")
    again = fix(repository, COMMAND, options)
    assert (first.status, first.from_knowledge) == (Status.APPLIED, False)
    assert (again.status, again.from_knowledge) == (Status.APPLIED, True)
    assert again.replay_key == first.replay_key
    assert knowledge.fixes()[0].successes == 2
    assert again.chosen is not None
    assert [step.name for step in again.chosen.proof.steps] == ["isolation", "scope", "replay"]


@needs_sandbox
def test_a_known_fix_is_not_replayed_where_the_file_is_another(
    make_repository: MakeRepository, knowledge: Knowledge
) -> None:
    drift = DRIFT["renamed parameter"][0]
    repository = make_repository(drift)
    options = Options(apply=Apply.POLICY, knowledge=knowledge)
    fix(repository, COMMAND, options)
    write(repository, {path: (text or "") + "\n# more\n" for path, text in drift.items()})
    git(repository, "commit", "-q", "-am", "Drift in a changed file")
    again = fix(repository, COMMAND, options)
    assert (again.status, again.from_knowledge) == (Status.APPLIED, False)


@pytest.fixture
def once_mended(
    make_repository: MakeRepository, knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Options]:
    """A repository that was mended, and broke again; its known fix is worth a guess."""
    monkeypatch.setattr("homeostat.repair.knowledge.WORTH_A_GUESS_S", 0.0)
    monkeypatch.setattr("homeostat.repair.agent.CROWDED", float("inf"))
    drift = DRIFT["renamed parameter"][0]
    repository = make_repository(drift)
    options = Options(apply=Apply.POLICY, knowledge=knowledge)
    fix(repository, COMMAND, options)
    write(repository, drift)
    git(repository, "commit", "-q", "-am", "Drift again")
    return repository, options


def was_under_way(outcome: RepairOutcome) -> bool:
    """Whether the replay took longer than was waited for it."""
    assert outcome.chosen is not None
    replay = outcome.chosen.proof.steps[-1]
    return float(str(replay.observed["run_s"])) > replay.seconds


@needs_sandbox
def test_a_known_fix_whose_replay_takes_long_is_replayed_beside_the_reproduction(
    once_mended: tuple[Path, Options],
) -> None:
    again = fix(once_mended[0], COMMAND, once_mended[1])
    assert (again.status, again.from_knowledge) == (Status.APPLIED, True)
    assert was_under_way(again)
    assert again.chosen is not None
    assert again.chosen.proof.steps[-1].observed["before"] == again.failure != ""


@needs_sandbox
def test_on_a_crowded_machine_pytest_is_replayed_after_it_in_the_sandbox_that_is_ready(
    once_mended: tuple[Path, Options], monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, options = once_mended
    test = "from shop import total\n\n\ndef test_it():\n    assert total([2], discount=0.5) == 1\n"
    write(repository, {"test_shop.py": test})
    command = f"{sys.executable} -m pytest -x test_shop.py"
    assert fix(repository, command, options).status is Status.APPLIED
    git(repository, "revert", "--no-edit", "HEAD")
    monkeypatch.setattr("homeostat.repair.agent.CROWDED", 0.0)
    again = fix(repository, command, options)
    assert (again.status, again.from_knowledge) == (Status.APPLIED, True)
    assert not was_under_way(again)


@needs_sandbox
def test_a_guess_at_a_known_fix_mends_no_other_failure(once_mended: tuple[Path, Options]) -> None:
    repository, options = once_mended
    write(repository, {"user.py": "raise RuntimeError('another')\n"})
    git(repository, "commit", "-q", "-am", "And something else")
    again = fix(repository, COMMAND, options)
    assert again.failure == "RuntimeError: another"
    assert (again.status is Status.APPLIED, again.from_knowledge) == (False, False)


@pytest.mark.slow
@needs_sandbox
def test_a_replay_that_breaks_a_test_is_taken_back(
    make_repository: MakeRepository, knowledge: Knowledge
) -> None:
    tests = {
        "tests/test_main.py": "from shop import total\n\n\ndef test_total():\n"
        "    assert total([2], discount=0.5) == 1\n",
        "tests/test_other.py": "from shop import prices\n\n\ndef test_other():\n"
        "    assert hasattr(prices, 'total')\n",
    }
    drift = {**DRIFT["renamed parameter"][0], **tests}
    repository = make_repository(drift)
    command = f"{sys.executable} -m pytest -x tests/test_main.py"
    options = Options(apply=Apply.POLICY, knowledge=knowledge)
    assert fix(repository, command, options).status is Status.APPLIED
    broken = (
        "def test_other():\n    import inspect\n    from shop.prices import total\n"
        "    assert 'discount_rate' in inspect.signature(total).parameters\n"
    )
    write(repository, {**DRIFT["renamed parameter"][0], "tests/test_other.py": broken})
    git(repository, "commit", "-q", "-am", "Drift, and a test that wants it")
    again = fix(repository, command, options)
    assert again.from_knowledge
    assert again.status is Status.REVERTED
    assert again.behind is not None
    assert "test_other passed before and fails now" in again.behind.refusal
    assert "discount_rate" in (repository / "shop/prices.py").read_text()
    assert git(repository, "status", "--porcelain") == ""
    assert knowledge.fixes()[0].failures == 1


@needs_sandbox
def test_a_proposal_waits_and_is_applied_exactly_as_proven(
    make_repository: MakeRepository, knowledge: Knowledge
) -> None:
    repository = make_repository(DRIFT["dropped import"][0])
    options = Options(apply=Apply.POLICY, mode=Mode.ADVISORY, knowledge=knowledge)
    proposed = fix(repository, COMMAND, options)
    row = decisions.approve(knowledge, proposed.id, "Ann")
    assert row.status == "applied"
    assert "Approved by: Ann" in git(repository, "log", "-1", "--format=%B")
    assert fix(repository, COMMAND).status is Status.HEALTHY
    with pytest.raises(decisions.NotOpenError):
        decisions.approve(knowledge, proposed.id, "Ann")
    back = decisions.take_back(knowledge, proposed.id, "Ann", "a drill")
    assert back.status == "reverted"
    assert fix(repository, COMMAND).status is not Status.HEALTHY


@needs_sandbox
def test_a_proposal_is_not_applied_to_a_file_that_has_changed(
    make_repository: MakeRepository, knowledge: Knowledge
) -> None:
    repository = make_repository(DRIFT["dropped import"][0])
    proposed = fix(repository, COMMAND, Options(knowledge=knowledge))
    with (repository / "shop/prices.py").open("a") as file:
        file.write("# more\n")
    with pytest.raises(ApplyError, match="has changed since"):
        decisions.approve(knowledge, proposed.id, "Ann")


def test_a_commit_leaves_other_uncommitted_work_alone(make_repository: MakeRepository) -> None:
    repository = make_repository({})
    (repository / "user.py").write_text("# mine\n")
    commit_changes(repository, {"shop/prices.py": "x = 1\n", "shop/orders.py": None}, "A fix")
    assert git(repository, "status", "--porcelain") == "M user.py"
    assert git(repository, "show", "--name-status", "--format=") == (
        "D\tshop/orders.py\nM\tshop/prices.py"
    )
    assert not (repository / "shop/orders.py").exists()


def test_a_reverted_fix_restores_every_file(make_repository: MakeRepository) -> None:
    repository = make_repository({})
    changes = {"shop/prices.py": "x = 1\n", "shop/orders.py": None, "shop/new.py": "y = 2\n"}
    revert_commit(repository, commit_changes(repository, changes, "A fix"), "a drill")
    assert (repository / "shop/prices.py").read_text() == GOOD["shop/prices.py"]
    assert (repository / "shop/orders.py").read_text() == GOOD["shop/orders.py"]
    assert not (repository / "shop/new.py").exists()
    assert git(repository, "status", "--porcelain") == ""


_KILLED = """
import os, signal, sys
from pathlib import Path
from homeostat.repair import apply
steps = 0
def dying(real):
    def act(*words, **named):
        global steps
        steps += 1
        if steps == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*words, **named)
    return act
apply._git = dying(apply._git)
apply.write_file = dying(apply.write_file)
apply.commit_changes(Path(sys.argv[1]), {"shop/prices.py": "x = 1\\n", "shop/orders.py": None}, "A fix")
"""


@pytest.mark.parametrize("step", range(1, 16))
def test_killed_at_any_step_the_repository_is_clean_after_recovery(
    step: int, make_repository: MakeRepository
) -> None:
    repository = make_repository({})
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(repository), str(step)],
        check=False, capture_output=True, cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    recover(repository)
    assert git(repository, "status", "--porcelain") == ""
    commits = git(repository, "log", "--format=%s").splitlines()
    applied = (repository / "shop/prices.py").read_text() == "x = 1\n"
    assert commits == (["A fix", "Drift"] if applied else ["Drift"])
    if done.returncode == 0:
        assert applied


@needs_sandbox
@pytest.mark.parametrize(
    ("drift", "code"),
    [("dropped import", 0), ("none", 3), ("wrong sum", 4)],
)
def test_the_command_line_says_how_it_ended(
    drift: str, code: int, make_repository: MakeRepository, tmp_path: Path
) -> None:
    prices = GOOD["shop/prices.py"]
    changes = {
        "none": {},
        "wrong sum": {"shop/prices.py": prices.replace("(1 - discount)", "(2 - discount)")},
    }.get(drift) if drift in {"none", "wrong sum"} else DRIFT[drift][0]  # fmt: skip
    repository = make_repository(changes or {})
    done = subprocess.run(
        [sys.executable, "-c", "from homeostat.cli import main; main()", "fix", "run",
         "--repository", str(repository), "--command", COMMAND, "-o", "json", "--apply",
         "--knowledge", str(tmp_path / "kb.sqlite3")],
        check=False, capture_output=True, text=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    shown = json.loads(done.stdout)
    if drift == "wrong sum":
        assert done.returncode in {3, 4}
        assert shown["fix"] is None
    else:
        assert done.returncode == code, done.stderr
    if drift == "dropped import":
        assert shown["status"] == "applied"
        assert shown["fix"]["proof"]["holds"]
        assert "+import math" in shown["fix"]["diff"]


def test_a_knowledge_base_of_an_earlier_version_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite3"
    with sqlite3.connect(path) as old:
        old.execute("CREATE TABLE repairs (id TEXT PRIMARY KEY)")
    with pytest.raises(OldKnowledgeError, match="earlier version"):
        Knowledge.at(path)


def test_a_fix_is_not_taken_back_over_what_somebody_wrote_since(
    make_repository: MakeRepository,
) -> None:
    repository = make_repository({})
    commit = commit_changes(repository, {"shop/prices.py": "x = 1\n"}, "A fix")
    (repository / "shop/prices.py").write_text("x = 1\ny = 2\n")
    with pytest.raises(ApplyError, match="has changed since the fix"):
        revert_commit(repository, commit, "it fell")
    assert (repository / "shop/prices.py").read_text() == "x = 1\ny = 2\n"


def test_a_cached_byte_code_of_the_broken_file_does_not_outlive_it(
    make_repository: MakeRepository,
) -> None:
    repository = make_repository({})
    stale = repository / "shop/__pycache__/prices.cpython-311.pyc"
    stale.parent.mkdir()
    stale.write_bytes(b"old")
    commit_changes(repository, {"shop/prices.py": "x = 1\n"}, "A fix")
    assert not stale.exists()


def test_what_several_workers_do_at_once_is_committed_once(
    make_repository: MakeRepository,
) -> None:
    repository = make_repository({})
    path = "shop/prices.py"
    preimages = {path: digest((repository / path).read_text())}
    message = fix_message("id-7", "A fix", "NameError")

    def mend(_: int) -> str:
        return commit_changes(
            repository, {path: "x = 1\n"}, message, preimages=preimages, repair_id="id-7"
        )

    with ThreadPoolExecutor(4) as pool:
        [commit] = set(pool.map(mend, range(4)))
        backs = pool.map(
            lambda _: revert_commit(repository, commit, "it fell", repair_id="id-7"), range(4)
        )
        [back] = set(backs)
    assert git(repository, "rev-parse", "HEAD", "HEAD^").split() == [back, commit]
    assert len(git(repository, "log", "--format=%h").splitlines()) == 3


def test_a_repository_without_a_commit_is_one_clear_sentence(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with pytest.raises(ApplyError, match="has no commit yet; make one"):
        commit_changes(tmp_path, {"x.py": "x = 1\n"}, "A fix")
    assert not (tmp_path / "x.py").exists()
