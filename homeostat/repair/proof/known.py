"""What is known of a case as its patches are judged: its tests, what they expect, what is ours."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from homeostat.repair.case import Case
from homeostat.repair.evidence import is_test

#: Constants that stand everywhere, and say nothing of a test.
_COMMON = (None, True, False, Ellipsis, -1, 0, 1, 2)


def _nobodys(name: str) -> bool:
    del name
    return False


@dataclass(frozen=True)
class Known:
    """The files that hold tests, the constants of the failing one, and what the repository defines.

    `expected` are constants as `repr` writes them.
    """

    tests: frozenset[str] = frozenset()
    expected: frozenset[str] = frozenset()
    is_own: Callable[[str], bool] = _nobodys


def known_of(case: Case) -> Known:
    """Return what a case tells; a test is what pytest collected, by whatever name."""

    def is_own(name: str) -> bool:
        return any(not is_test(item.path) for item in case.index.definitions(name))

    tests = frozenset(_test_files(case))
    return Known(tests, frozenset(_constants(case, tests)), is_own)


def _test_files(case: Case) -> Iterator[str]:
    for node in (*case.failure.collected, *case.failure.failed, *case.failure.passed):
        path, _, rest = node.partition("::")
        # An example in a docstring is named after what it shows, by its dotted name.
        if rest and "." not in rest.partition("[")[0]:
            yield path
    for fault in case.failure.faults:
        for frame in fault.own_frames:
            if frame.path and frame.function.rpartition(".")[2].startswith("test"):
                yield frame.path


def _constants(case: Case, tests: frozenset[str]) -> Iterator[str]:
    """Yield the constants of the test functions on the way to the failure."""
    for fault in case.failure.faults:
        for frame in fault.own_frames:
            if frame.path is None or not (frame.path in tests or is_test(frame.path)):
                continue
            around = case.index.enclosing(frame.path, frame.line)
            for node in ast.walk(around.node) if around else ():
                if isinstance(node, ast.Constant) and _tells(node.value):
                    yield repr(node.value)


def _tells(value: object) -> bool:
    if isinstance(value, str | bytes):
        return len(value) > 1
    return value not in _COMMON
