"""The repository's tests after a patch: no new failure, and no test lost.

One process runs them, the affected files first, and ends early where one of those fails. What was
collected before is found out while the proof goes on; what passed before is asked only of the
files in which something fails now, because a test that passes is no new failure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath

from pydantic import JsonValue

from homeostat.repair.case import Candidate, Case
from homeostat.repair.evidence import is_test
from homeostat.repair.failure import Failure
from homeostat.repair.proof.record import Step
from homeostat.repair.proof.runs import Runner, lost_tests, new_failures

_MOST_AFFECTED_FILES = 12
_MOST_DOUBTS = 5


@dataclass(frozen=True)
class Depth:
    """How far a proof goes; seconds of wall clock for each run."""

    replay_s: float = 60.0
    affected_s: float = 40.0
    suite_s: float = 60.0
    suite: bool = True


class Suite:
    """Compares the tests with and without a patch, for one case."""

    def __init__(self, case: Case, runner: Runner, depth: Depth, pool: ThreadPoolExecutor) -> None:
        self._case, self._runner, self._depth, self._pool = case, runner, depth, pool
        self._collected: Future[Failure] | None = None
        self._passed: dict[tuple[str, ...], Failure] = {}

    def begin(self) -> Future[Failure]:
        """Start, once, to ask which tests the unpatched tree has."""
        if self._collected is None:
            self._collected = self._pool.submit(
                self._runner.tests, {}, [], wall_s=self._depth.suite_s, collect_only=True
            )
        return self._collected

    def steps(self, candidate: Candidate) -> list[Step]:
        """Return the steps "affected tests" and "suite", the second only where it was asked for."""
        affected = self.affected(candidate)
        if not any(is_test(path) for path in self._case.tree.python_files):
            return [Step("suite", True, "the repository has no tests of its own")]
        if not affected and not self._depth.suite:
            return [Step("affected tests", True, "no test file names what was changed")]
        steps = self._run(candidate, affected, early=True)
        if steps[-1].passed and steps[-1].observed.get("stopped") == "early":
            steps = self._run(candidate, affected, early=False)
        return steps

    def _run(self, candidate: Candidate, affected: list[str], *, early: bool) -> list[Step]:
        depth = self._depth
        collected = self.begin()
        after = self._runner.tests(
            candidate.changes,
            [] if depth.suite else affected,
            wall_s=depth.affected_s + (depth.suite_s if depth.suite else 0),
            readable=candidate.readable,
            first=affected,
            stop_early=early,
        )
        before = collected.result()
        steps = []
        if affected:
            steps.append(self._judged("affected tests", before, after, set(affected)))
        if depth.suite and (not steps or steps[0].passed):
            steps.append(self._judged("suite", before, after, None))
        return steps

    def _judged(
        self, name: str, collected: Failure, after: Failure, files: set[str] | None
    ) -> Step:
        """Judge the tests of some files, or all of them."""
        failed = [node for node in after.failed if files is None or _file(node) in files]
        before = self._before(_file(node) for node in failed)
        broken = [node for node in new_failures(before, after) if node in set(failed)]
        lost = [
            node for node in lost_tests(collected, after) if files is None or _file(node) in files
        ]
        passed = [node for node in after.passed if files is None or _file(node) in files]
        observed: dict[str, JsonValue] = {
            "collected_before": len(collected.collected),
            "passed_after": len(passed),
            "failed_after": len(failed),
            "failed_before_too": len(failed) - len(broken),
            "files": 0 if files is None else len(files),
            "stopped": "early" if after.ended_early else after.stopped,
            "doubts": [*islice(self._doubts(before, failed), _MOST_DOUBTS)],
        }
        if broken:
            return Step(name, False, f"{broken[0]} passed before and fails now", observed=observed)
        if lost and after.stopped is None:
            return Step(name, False, f"{lost[0]} is not collected any more", observed=observed)
        detail = f"{len(passed)} pass, no new failure"
        if after.stopped:
            detail += f" as far as it came ({after.stopped})"
        return Step(name, True, detail, observed=observed)

    def _doubts(self, before: Failure, failed: Iterable[str]) -> Iterator[str]:
        """Yield the tests that failed by the very failure, and fail by something else now.

        They are no new failures, and say that the patch may be another than the one that is wanted.
        Where a file could not be collected, only tests that speak of what was missing count.
        """
        words = {
            word.rpartition(".")[2]
            for symptom in self._case.symptoms
            for word in (symptom.name, *symptom.names)
        }
        for node in failed:
            if before.blamed.get(node) == self._case.failure.headline or (
                _file(node) in before.blamed and words & self._spoken_of(node)
            ):
                yield node

    def _spoken_of(self, node: str) -> set[str]:
        """Return the words of a test's source."""
        path, _, rest = node.partition("::")
        qualname = rest.partition("[")[0].replace("::", ".")
        lines = (self._case.tree.read(path) or "").splitlines()
        return {
            word
            for item in self._case.index.in_file(path, qualname)
            for line in lines[item.line - 1 : item.end_line]
            for word in re.findall(r"\w+", line)
        }

    def _before(self, files: Iterable[str]) -> Failure:
        """Return how the tests of some files fare without the patch."""
        wanted = tuple(sorted(set(files)))
        if not wanted:
            return Failure((), "", 0)
        if wanted not in self._passed:
            self._passed[wanted] = self._runner.tests({}, wanted, wall_s=self._depth.suite_s)
        return self._passed[wanted]

    def affected(self, candidate: Candidate) -> list[str]:
        """Return the test files that import a changed module or its package, nearest first."""
        index = self._case.index
        scores: Counter[str] = Counter()
        for path in candidate.changes:
            module = index.dotted(path)
            for depth, name in enumerate((module, module.rpartition(".")[0])):
                if not name:
                    continue
                for use in index.importers(name):
                    if _holds_tests(use.path):
                        scores[use.path] += 3 - depth
        return [path for path, _ in scores.most_common(_MOST_AFFECTED_FILES)]


def _file(node: str) -> str:
    return node.split("::", maxsplit=1)[0]


def _holds_tests(path: str) -> bool:
    name = PurePosixPath(path).name
    return is_test(path) and name not in {"conftest.py", "__init__.py"}
