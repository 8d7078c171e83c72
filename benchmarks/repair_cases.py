"""Which injected defects are cases: a test that passed alone fails by them, and as expected."""

from __future__ import annotations

import random
from collections.abc import Iterator

from benchmarks.repair_defects import INJECTORS, Defect
from benchmarks.repair_packages import Package
from homeostat.repair.evidence import is_test
from homeostat.repair.failure import Failure
from homeostat.repair.proof.runs import Runner


def valid_defects(
    package: Package, kind: str, wanted: int, seed: int
) -> Iterator[tuple[Defect, str]]:
    """Yield (defect, failing test) for defects that break a test that passed, as expected."""
    rng = random.Random(f"{seed}-{package.name}-{kind}")  # noqa: S311 - a repeatable choice
    tests = sorted({file for node in package.good.passed if is_test(file := node.split("::")[0])})
    found = 0
    for tried, defect in enumerate(INJECTORS[kind](package.tree, rng)):
        if found >= wanted or tried > wanted * 8:
            return
        naming = [
            path
            for path in tests
            if defect.mention in (package.tree.read(path) or "")
            or defect.name in (package.tree.read(path) or "")
        ]
        rng.shuffle(naming)
        runner = Runner(
            package.runner.sandbox, package.runner.command + " -x", package.runner.inherited
        )
        failure = runner.tests(defect.changes, ["-x", *(naming or tests)[:4]], wall_s=40)
        node = _first_broken(package, failure, defect)
        if node and _shows_it_alone(package, defect, node):
            found += 1
            yield defect, node


def _shows_it_alone(package: Package, defect: Defect, node: str) -> bool:
    """Whether the test, run alone, passes unbroken and fails as expected when broken.

    Some tests pass only after others; such a one shows nothing.
    """
    if node not in package.runner.tests({}, [node], wall_s=40).passed:
        return False
    broken = package.runner.tests(defect.changes, [node], wall_s=40)
    return bool({fault.type for fault in broken.faults} & set(defect.expected))


def _first_broken(package: Package, failure: Failure, defect: Defect) -> str:
    types = {fault.type for fault in failure.faults}
    if not types & set(defect.expected):
        return ""
    broken = [
        n for n in failure.failed if n in set(package.good.passed) and is_test(n.split("::")[0])
    ]
    if broken:
        return broken[0]
    # The test module itself, or its conftest, can no longer be imported.
    files = [
        frame.path
        for fault in failure.faults
        for frame in fault.own_frames
        if frame.path and is_test(frame.path)
    ]
    for file in files:
        for node in package.good.passed:
            if node.startswith(file + "::"):
                return node
    # A conftest that cannot be imported fails every test; any that passed will do.
    broken_conftest = any(file.endswith("conftest.py") for file in files)
    return (
        next((n for n in package.good.passed if is_test(n.split("::")[0])), "")
        if (broken_conftest)
        else ""
    )
