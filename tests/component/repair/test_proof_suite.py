"""The tests behind a patch: what they refuse, and what they let through."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from homeostat.repair.agent import Options, Status, fix
from homeostat.repair.sandbox import Isolation, detect_isolation
from tests.component.repair.conftest import begin, git, write

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
    ),
]

RENAMED = "def total(prices, rate_value=1):\n    return sum(prices) * rate_value\n"
SHOWS = "from shop.prices import total\n\n\ndef test_total():\n    assert total([2], rate=2) == 4\n"
COMMAND = f"{sys.executable} -m pytest -x tests/test_total.py"


def repository(folder: Path, **tests: str) -> Path:
    folder = folder / "repository"
    folder.mkdir()
    write(folder, {"shop/__init__.py": "", "shop/prices.py": RENAMED, "tests/test_total.py": SHOWS})
    write(folder, {f"tests/{name}.py": text for name, text in tests.items()})
    return begin(folder)


def test_a_failure_that_was_there_before_does_not_refuse_a_patch(tmp_path: Path) -> None:
    old = "from shop.prices import total\n\n\ndef test_old():\n    assert total([1]) == 5\n"
    later = "def test_later():\n    assert True\n"
    outcome = fix(repository(tmp_path, test_old=old, test_zlater=later), COMMAND, Options())
    assert outcome.status is Status.PROPOSED
    assert outcome.chosen is not None
    steps = {step.name: step for step in outcome.chosen.proof.steps}
    # The old failure goes first and ends the run early; then the rest is run all the same.
    assert steps["affected tests"].observed["failed_before_too"] == 1
    assert steps["suite"].observed["passed_after"] == 2


def test_a_test_that_the_patch_breaks_refuses_it(tmp_path: Path) -> None:
    other = "from shop.prices import total\n\n\ndef test_new_name():\n    assert total([1], rate_value=3) == 3\n"
    outcome = fix(repository(tmp_path, test_other=other), COMMAND, Options())
    renames = [item for item in outcome.refused if "Rename" in item.candidate.title]
    assert renames
    assert "test_new_name passed before and fails now" in renames[0].proof.refusal


@pytest.mark.parametrize(
    "command",
    [
        f"PYTHONPATH=. {sys.executable} -m pytest -x 'tests/test_semi.py::test_semi[a;b|c]'",
        f"PYTHONPATH=. {sys.executable} -m pytest -x tests/test_semi.py > out.txt || exit 1",
    ],
)
def test_what_a_shell_would_read_is_told_from_a_test_id(command: str, tmp_path: Path) -> None:
    semi = (
        "import pytest\nfrom shop.prices import total\n\n\n"
        "@pytest.mark.parametrize('name', ['a;b|c'])\ndef test_semi(name):\n"
        "    assert total([2], rate=2) == 4\n"
    )
    outcome = fix(repository(tmp_path, test_semi=semi), command, Options())
    assert outcome.failure.startswith("TypeError")
    assert outcome.status is Status.PROPOSED


def test_a_changed_line_is_seen_to_run_however_its_module_is_imported(tmp_path: Path) -> None:
    late = (
        "import importlib\n\n\ndef test_late():\n"
        "    assert importlib.import_module('shop.sums').double([1]) == 2\n"
    )
    folder = repository(tmp_path, test_late=late)
    write(folder, {"shop/sums.py": "def double(numbers):\n    return math.fsum(numbers) * 2\n"})
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "More drift")
    outcome = fix(folder, f"{sys.executable} -m pytest -x tests/test_late.py", Options())
    assert outcome.chosen is not None
    replay = next(step for step in outcome.chosen.proof.steps if step.name == "replay")
    assert replay.observed["changed_lines_run"] == {"shop/sums.py": [1]}
