"""The benchmark's judge: a held-back test speaks against a patch only where the patch is why."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.repair_defects import Defect
from benchmarks.repair_judge import judge
from benchmarks.repair_packages import Package
from homeostat.repair.proof.runs import Runner
from homeostat.repair.sandbox import Isolation, Sandbox, detect_isolation, find_interpreter
from homeostat.repair.tree import Tree
from tests.component.repair.conftest import write

pytestmark = pytest.mark.skipif(
    detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
)

PRICES = (
    "def total(prices=None):\n    if prices is None:\n        return 0\n    return sum(prices)\n"
)
BROKEN = "def total(prices=None):\n    return sum(prices)\n"
RIGHT = "def total(prices=None):\n    return sum(prices or ())\n"
WRONG = (
    "def total(prices=None):\n    if prices is None:\n        return None\n    return sum(prices)\n"
)
TESTS = {
    "tests/test_total.py": (
        "from shop.prices import total\n\n\ndef test_nothing():\n    assert total() == 0\n"
    ),
    "tests/test_clock.py": "def test_in_time():\n    raise TimeoutError\n",
}


@pytest.fixture
def package(tmp_path: Path) -> Package:
    """A package with a test that passed once and fails since, whatever the source."""
    folder = tmp_path / "shop-1.0"
    write(folder, {"shop/__init__.py": "", "shop/prices.py": PRICES, **TESTS})
    tmp_path.chmod(0o755)
    python = Path(sys.executable)
    tree = Tree(folder)
    sandbox = Sandbox(folder, folder, find_interpreter(str(python), folder))
    runner = Runner(sandbox, f"{python} -m pytest", {"PYTHONPATH": "."})
    seen = runner.tests({}, [], wall_s=60)
    good = replace(seen, failed=(), passed=(*seen.passed, *seen.failed))
    assert len(good.passed) == 2
    return Package("shop", tree, python, ".", good, runner)


def verdict(package: Package, patched: str) -> tuple[bool, str]:
    defect = Defect("none_guard", {"shop/prices.py": BROKEN}, "total", ("TypeError",), "total")
    return judge(package, defect, {"shop/prices.py": patched})


def test_a_test_that_fails_without_the_patch_too_is_no_reason(package: Package) -> None:
    assert verdict(package, RIGHT) == (
        True, "the held-back suite passes and the signature is the original's"
    )  # fmt: skip


def test_a_test_that_fails_only_with_the_patch_is(package: Package) -> None:
    assert verdict(package, WRONG) == (
        False, "held-back test fails: tests/test_total.py::test_nothing"
    )  # fmt: skip
