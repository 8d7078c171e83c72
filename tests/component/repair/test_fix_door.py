"""`homeostat fix run`: its exit codes, what it prints, and one sentence for what it cannot use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeostat.cli import run
from homeostat.repair.agent import Options, Status, fix
from homeostat.repair.case import Candidate, DefectClass, Origin
from homeostat.repair.sandbox import Isolation, detect_isolation
from tests.component.repair.conftest import GOOD, MakeRepository, git

pytestmark = pytest.mark.skipif(
    detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
)

EVIDENT = {"shop/prices.py": GOOD["shop/prices.py"].replace("import math\n", "")}
WRONG = {"shop/prices.py": GOOD["shop/prices.py"].replace("(1 - discount)", "(2 - discount)")}
#: A test asks for what nobody does; what only accepts it is refused.
IGNORED = {
    "shop/prices.py": GOOD["shop/prices.py"],
    "user.py": "import shop\n\nassert shop.total([1], tax=0.5) == 1.5\n",
}


class Door:
    """Calls the command in this process, with a knowledge base of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.knowledge = folder / "knowledge.sqlite3"
        self._capsys = capsys

    def __call__(
        self, repository: Path, *words: str, command: str = "python user.py"
    ) -> tuple[int, str, str]:
        given = ["fix", "run", "--repository", str(repository), "--command", command]
        if "--knowledge" not in words:
            given += ["--knowledge", str(self.knowledge)]
        code = run([*given, *words])
        said = self._capsys.readouterr()
        return code, said.out, said.err


@pytest.fixture
def door(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Door:
    return Door(tmp_path, capsys)


def test_a_proven_patch_is_printed_with_its_proof_and_nothing_is_changed(
    door: Door, make_repository: MakeRepository
) -> None:
    repository = make_repository(EVIDENT)
    code, out, _ = door(repository, "-o", "json")
    shown = json.loads(out)
    assert code == 0
    assert shown["status"] == "proposed"
    assert "+import math" in shown["fix"]["diff"]
    assert shown["fix"]["proof"]["holds"]
    assert git(repository, "log", "--format=%s") == "Drift"
    assert git(repository, "status", "--porcelain") == ""


def test_with_apply_it_is_committed_and_the_second_time_known(
    door: Door, make_repository: MakeRepository
) -> None:
    repository = make_repository(EVIDENT)
    code, out, _ = door(repository, "--apply", "-o", "json")
    assert code == 0
    assert json.loads(out)["commit"] == git(repository, "rev-parse", "HEAD")
    git(repository, "revert", "--no-edit", "HEAD")
    code, out, _ = door(repository, "--apply", "-o", "json")
    assert code == 0
    assert json.loads(out)["from_knowledge"]
    assert door.knowledge.is_file()


def test_what_was_looked_at_first_is_applied_by_the_same_evidence(
    door: Door, make_repository: MakeRepository
) -> None:
    repository = make_repository(EVIDENT)
    seen = [json.loads(door(repository, *words, "-o", "json")[1]) for words in ((), ("--apply",))]
    assert [one["status"] for one in seen] == ["proposed", "applied"]
    assert seen[0]["verdict"] == seen[1]["verdict"]


def test_where_nothing_is_found_it_ends_with_3(door: Door, make_repository: MakeRepository) -> None:
    code, out, _ = door(make_repository(WRONG), "-o", "json")
    assert (code, json.loads(out)["fix"]) == (3, None)


def test_where_all_candidates_were_refused_it_ends_with_4_and_says_why(
    door: Door, make_repository: MakeRepository
) -> None:
    code, out, err = door(make_repository(IGNORED))
    assert code == 4
    assert "refused:" in out
    assert "No candidate held its proof; the first fell at replay: the command still" in err


@pytest.mark.parametrize(
    ("command", "code", "sentence"),
    [
        ("nosuchprogram --x", 3, "Its program is not found in the sandbox"),
        ("python -m pytest -x tests/test_none.py", 3, "pytest does not find what it is to run"),
        ("python -m pytest --no-such", 3, "or an option's plugin is missing"),
        ("python -m pytest -x shop", 3, "pytest finds no test"),
        ("python -c 'import shopkeeper'", 3, "shopkeeper is not installed for"),
        ("python -m pytest --no-such", 3, "It said: __main__.py: error: unrecognized arguments: "),
        ("cd shop && python -c 'import shopkeeper'", 3, "shopkeeper is not installed for"),
        ("python -c 'assert 1 == 2'", 3, "No strategy knows a patch for this: AssertionError"),
        ("python nofile.py", 3, "It shows no Python exception to go by"),
        ("python -c 'import shop'", 3, "does not fail, so there is nothing to mend"),
        ("python 'unbalanced", 64, "check its quotes"),
        ("", 64, "The command is empty"),
    ],
)
def test_a_command_that_is_of_no_use_is_one_clear_sentence(
    door: Door, make_repository: MakeRepository, command: str, code: int, sentence: str
) -> None:
    ended, _, err = door(make_repository({}), command=command)
    assert ended == code
    assert sentence in err
    assert "Traceback" not in err
    assert err.strip().count("\n") == 0


def test_a_package_that_is_not_on_the_path_is_named_with_its_folder(
    door: Door, make_repository: MakeRepository
) -> None:
    repository = make_repository({"src/basket/__init__.py": ""})
    code, _, err = door(repository, command="python -c 'import basket.lid'")
    assert code == 3
    assert "basket lies in src/, which the command does not look into; set PYTHONPATH=src" in err


def test_a_path_set_by_env_stands_beside_our_own(
    door: Door, make_repository: MakeRepository
) -> None:
    test = "import basket\nimport shop\n\n\ndef test_total():\n    assert shop.total([1]) == 1\n"
    repository = make_repository({**EVIDENT, "src/basket.py": "", "test_total.py": test})
    command = "env PYTHONPATH=src python -m pytest -x test_total.py"
    code, out, err = door(repository, "-o", "json", command=command)
    assert code == 0, err
    assert "+import math" in json.loads(out)["fix"]["diff"]


def test_tests_that_would_run_in_processes_of_their_own_are_seen_as_well(
    door: Door, make_repository: MakeRepository
) -> None:
    test = "import shop\n\n\ndef test_total():\n    assert shop.total([1]) == 1\n"
    settings = "[pytest]\naddopts = -n 2\n"
    repository = make_repository({**EVIDENT, "test_total.py": test, "pytest.ini": settings})
    for words in ("-x test_total.py", "-n 2 test_total.py"):
        command = f"{sys.executable} -m pytest {words}"
        code, out, err = door(repository, "-o", "json", command=command)
        assert code == 0, err
        assert "+import math" in json.loads(out)["fix"]["diff"]


@pytest.mark.parametrize(
    "line",
    [
        "cd tests; PYTHONPATH=.. {python} -m pytest -q test_total.py",
        "bash -c 'cd tests && PYTHONPATH=.. {python} -m pytest -q test_total.py'",
        "timeout 60 {python} -m pytest -x tests",
    ],
)
def test_an_interpreter_is_found_behind_what_starts_it(
    door: Door, make_repository: MakeRepository, line: str
) -> None:
    test = "import shop\n\n\ndef test_total():\n    assert shop.total([1]) == 1\n"
    repository = make_repository({**EVIDENT, "tests/test_total.py": test, "conftest.py": ""})
    code, out, err = door(repository, "-o", "json", command=line.format(python=sys.executable))
    assert code == 0, err
    steps = [step["name"] for step in json.loads(out)["fix"]["proof"]["steps"]]
    assert "suite" in steps, "it is known for a run of pytest"


def test_a_folder_that_is_no_repository_is_one_clear_sentence(door: Door, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        code, _, err = door(folder)
        assert code == 66
        assert "is no git checkout; run `git init` there" in err


def test_a_knowledge_base_that_is_none_is_one_clear_sentence(
    door: Door, make_repository: MakeRepository
) -> None:
    repository = make_repository({})
    code, _, err = door(repository, "--knowledge", str(repository / "user.py"))
    assert code == 66
    assert "cannot be opened (file is not a database); give another path" in err


def test_without_a_knowledge_base_given_it_makes_its_own_state(
    make_repository: MakeRepository, tmp_path: Path
) -> None:
    words = ["fix", "run", "--repository", str(make_repository(EVIDENT)), "--command"]
    env = {**os.environ, "HOMEOSTAT_STATE_DIR": str(tmp_path / "state")}
    done = subprocess.run(
        [sys.executable, "-m", "homeostat.cli", *words, "python user.py"],
        check=False, capture_output=True, text=True, env=env, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "state" / "homeostat.sqlite3").is_file()


@pytest.fixture
def no_bubblewrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("git", "sh", "cp"):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(tools))
    detect_isolation.cache_clear()
    yield str(tools)
    detect_isolation.cache_clear()


@pytest.mark.parametrize(
    ("origin", "strategy"), [(Origin.LLM, "adversary"), (Origin.KNOWLEDGE, "language_model")]
)
def test_where_bubblewrap_is_missing_no_patch_from_elsewhere_is_run(
    make_repository: MakeRepository, no_bubblewrap: str, origin: Origin, strategy: str
) -> None:
    del no_bubblewrap
    right = {"shop/prices.py": GOOD["shop/prices.py"]}
    foreign = Candidate(strategy, DefectClass.UNKNOWN, "From elsewhere.", right, origin=origin)
    outcome = fix(
        make_repository(WRONG), f"{sys.executable} user.py", Options(extra_candidates=(foreign,))
    )
    assert outcome.status is Status.REFUSED
    assert [step.name for step in outcome.refused[0].proof.steps] == ["isolation"]
    assert "bubblewrap is missing" in outcome.refused[0].proof.refusal


def test_where_bubblewrap_is_missing_it_says_so(
    make_repository: MakeRepository, no_bubblewrap: str, tmp_path: Path
) -> None:
    repository = make_repository(EVIDENT)
    words = [
        "fix",
        "run",
        "--repository",
        str(repository),
        "--command",
        f"{sys.executable} user.py",
    ]
    env = {"PATH": no_bubblewrap, "HOMEOSTAT_STATE_DIR": str(tmp_path / "state")}
    done = subprocess.run(
        [sys.executable, "-m", "homeostat.cli", *words],
        check=False, capture_output=True, text=True, env=env, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    assert "Bubblewrap is missing: it ran with limits only" in done.stdout
