"""The prover: takes a candidate through the steps and stops at the first that fails."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import JsonValue

from homeostat.repair.case import Candidate, Case, Origin, Side
from homeostat.repair.evidence import is_test
from homeostat.repair.failure import Failure
from homeostat.repair.proof import refusals
from homeostat.repair.proof.record import Proof, Step
from homeostat.repair.proof.runs import Runner, lost_tests, new_failures, same_failure
from homeostat.repair.proof.tools import ToolMissingError, lint, type_errors
from homeostat.repair.proof.units import new_lines, without_each_hunk
from homeostat.repair.sandbox import Isolation

#: Both processors at most: a proof shares the host with the work that it mends.
_PARALLEL = 2
_MOST_AFFECTED_FILES = 12
_MOST_UNITS = 8
_MOST_TYPED_FILES = 25


@dataclass(frozen=True)
class Depth:
    """How far a proof goes; seconds of wall clock for each run."""

    replay_s: float = 60.0
    affected_s: float = 40.0
    suite_s: float = 60.0
    suite: bool = True


class Prover:
    """Proves candidates for one case."""

    def __init__(self, case: Case, runner: Runner, depth: Depth) -> None:
        self._case = case
        self._runner = runner
        self._depth = depth
        self._before: dict[tuple[str, ...], Future[Failure]] = {}
        self._pool = ThreadPoolExecutor(_PARALLEL)

    def prove(self, candidate: Candidate) -> Proof:
        """Take the steps in order until one fails."""
        steps: list[Step] = []
        for name, take in self._steps(candidate):
            start = time.perf_counter()
            try:
                step = take()
            except ToolMissingError as error:
                step = Step(name, False, str(error))
            seconds = time.perf_counter() - start
            steps.append(Step(name, step.passed, step.detail, seconds, step.observed))
            if not step.passed:
                break
        sandbox = self._runner.sandbox
        return Proof(tuple(steps), sandbox.isolation.value, sandbox.protections)

    def behind(self, candidate: Candidate) -> Proof:
        """Run the tests behind an instant replay, whose files and patch were proven before."""
        steps = [self._affected(candidate)] if self._runner.is_pytest else []
        if steps and steps[0].passed and self._depth.suite:
            steps.append(self._suite(candidate))
        sandbox = self._runner.sandbox
        return Proof(tuple(steps), sandbox.isolation.value, sandbox.protections)

    def _steps(self, candidate: Candidate) -> Iterator[tuple[str, Callable[[], Step]]]:
        yield "isolation", lambda: self._isolation(candidate)
        yield "scope", lambda: self._scope(candidate)
        if candidate.origin is Origin.KNOWLEDGE:
            yield "replay", lambda: self._replay(candidate)
            return
        yield "lint", lambda: self._lint(candidate.changes, candidate)
        yield "types", lambda: self._types(candidate)
        yield "replay", lambda: self._replay(candidate)
        yield "necessity", lambda: self._necessity(candidate)
        if self._runner.is_pytest:
            if not (self._depth.suite and self._small):
                yield "affected tests", lambda: self._affected(candidate)
            if self._depth.suite:
                yield "suite", lambda: self._suite(candidate)

    @cached_property
    def _small(self) -> bool:
        """Whether the suite is so small that the affected tests need not go before it."""
        return sum(is_test(path) for path in self._case.tree.python_files) <= _MOST_AFFECTED_FILES

    def close(self) -> None:
        """Let go of what still runs."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _baseline(self, paths: tuple[str, ...], wall_s: float) -> Future[Failure]:
        """Start, once, the run of tests on the unpatched tree; it runs while the proof goes on."""
        if paths not in self._before:
            self._before[paths] = self._pool.submit(
                self._runner.tests, {}, list(paths), wall_s=wall_s
            )
        return self._before[paths]

    def _isolation(self, candidate: Candidate) -> Step:
        """Without isolation nothing is run that does not come from the repository."""
        isolated = self._runner.sandbox.isolation is Isolation.BUBBLEWRAP
        foreign = candidate.origin in {Origin.LLM, Origin.PIN}
        if foreign and not isolated:
            return Step("isolation", False, "bubblewrap is missing and the patch is not our own")
        detail = "in bubblewrap" if isolated else "limits only: bubblewrap does not work here"
        return Step("isolation", True, detail)

    def _scope(self, candidate: Candidate) -> Step:
        texts = {
            path: (self._case.tree.read(path), text) for path, text in candidate.changes.items()
        }
        reason = refusals.refusal(candidate, texts)
        return Step("scope", not reason, reason or "small, inside, and nothing is taken away")

    def _lint(self, changes: Mapping[str, str | None], candidate: Candidate) -> Step:
        """No new finding of ruff's F, E9 and ARG in the changed files."""
        found: Counter[str] = Counter()
        for path, text in changes.items():
            if text is None or not path.endswith(".py"):
                continue
            before = self._case.tree.read(path)
            old = Counter(_key(item) for item in lint(path, before)) if before else Counter()
            new = Counter(_key(item) for item in lint(path, text)) - old
            # A new `__init__.py` exists to import; a restored file may have had findings.
            if before is None or candidate.origin is Origin.HISTORY:
                new = Counter({key: n for key, n in new.items() if not key.startswith("F401")})
            if candidate.origin is Origin.HISTORY:
                new = Counter({key: n for key, n in new.items() if not key.startswith("ARG")})
            if path.endswith("__init__.py"):
                new = Counter({key: n for key, n in new.items() if not key.startswith("F401")})
            found += new
        first = next(iter(found), "")
        return Step("lint", not found, first or "no new finding of F, E9, ARG")

    def _good_types(
        self, paths: list[str]
    ) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]], str]:
        """Ty's findings in the last good commit (or the present tree), and in the present tree."""
        case = self._case
        present = type_errors(case.tree.root, case.interpreter, paths)
        good = case.history.last_good()
        if good is None:
            return present, present, "the present tree (there is no earlier commit)"
        changes = case.history.tree_at(good)
        if changes is None:
            return present, present, "the present tree (the commit cannot be read)"
        with tempfile.TemporaryDirectory(prefix="homeostat-types-") as folder:
            tree = case.tree.patched(changes, Path(folder) / "tree")
            return type_errors(tree.root, case.interpreter, paths), present, f"commit {good[:10]}"

    def _typed_files(self, candidate: Candidate) -> list[str]:
        """Return the changed files and those that import them: where a new finding can arise."""
        index = self._case.index
        found = [path for path in candidate.changes if path.endswith(".py")]
        for path in list(found):
            found += [
                use.path for use in index.importers(index.dotted(path)) if not is_test(use.path)
            ]
        return list(dict.fromkeys(found))[:_MOST_TYPED_FILES]

    def _changed_lines(self, candidate: Candidate) -> dict[str, list[int]]:
        """Return the lines that a patch writes; a moved file is compared with where it came from.

        Without a good commit to compare with only these are judged: a name that can be resolved
        again shows the type checker what had always been there.
        """
        gone = [self._case.tree.read(path) for path, text in candidate.changes.items() if not text]
        found = {}
        for path, text in candidate.changes.items():
            before = self._case.tree.read(path)
            if text is not None:
                origins = [before] if before is not None else [*gone, None]
                found[path] = min((new_lines(old, text) for old in origins), key=len)
        return found

    def _types(self, candidate: Candidate) -> Step:
        """No finding of ty that the last good commit had not and that the patch has part in."""
        case = self._case
        paths = self._typed_files(candidate)
        lines = None if case.history.last_good() else self._changed_lines(candidate)

        def patched() -> Counter[tuple[str, str]]:
            with tempfile.TemporaryDirectory(prefix="homeostat-types-") as folder:
                tree = case.tree.patched(candidate.changes, Path(folder) / "tree")
                return type_errors(tree.root, case.interpreter, paths, lines)

        with ThreadPoolExecutor(_PARALLEL) as pool:
            waiting = pool.submit(patched)
            good, present, name = self._good_types(paths)
            after = waiting.result()
        words = {word for symptom in case.symptoms for word in (symptom.name, *symptom.names)}
        good_rules, after_rules = _by_rule(good), _by_rule(after)
        new = [
            f"{path}: {text}"
            for path, text in after - good
            if not is_test(path)
            and after_rules[path, _rule(text)] > good_rules[path, _rule(text)]
            and (
                (path in candidate.changes and (path, text) not in present)
                or ((path, text) in present and any(f"`{word}`" in text for word in words))
            )
        ]
        detail = new[0] if new else f"no new finding of ty against {name}"
        return Step("types", not new, detail, observed={"against": name, "new": len(new)})

    def _replay(self, candidate: Candidate) -> Step:
        """The failing command failed before, passes now, and the changed lines really ran."""
        case = self._case
        instant = candidate.origin is Origin.KNOWLEDGE
        if self._depth.suite and self._runner.is_pytest and not instant:
            self._baseline((), self._depth.suite_s)
        root = case.repository
        lines = {
            str(root / path): new_lines(case.tree.read(path), text)
            for path, text in candidate.changes.items()
            if text and path.endswith(".py")
        }
        watch = {
            "lines": lines,
            "parameters": [{"function": f, "name": n} for f, n in candidate.traced],
        }
        run, after = self._runner.replay(
            candidate.changes,
            wall_s=self._depth.replay_s,
            watch=watch,  # type: ignore[arg-type]  # lists of JSON values are JSON
            readable=candidate.readable,
        )
        if not run.passed:
            seen = run.stopped or after.headline
            return Step("replay", False, f"the command still fails: {seen}")
        watched = next((item for item in run.records if item["kind"] == "watched"), {})
        ran = {
            str(Path(file).relative_to(root)): sorted(set(numbers) & set(lines.get(file, [])))
            for file, numbers in watched.get("lines", {}).items()
        }
        carried = watched.get("carried", {})
        observed = {
            "before": case.failure.headline,
            "after": "passed",
            "changed_lines_run": ran,
            "parameters": carried,
        }
        if not watched and candidate.side is not Side.DEPENDENCY:
            observed["changed_lines_run"] = "not observed"
        elif lines and not any(ran.values()) and any(lines.values()):
            return Step("replay", False, "no changed line ran, so the patch is not the reason",
                        observed=observed)  # fmt: skip
        return Step("replay", True, "failed before, passes after", observed=observed)

    def _necessity(self, candidate: Candidate) -> Step:
        """Taking any hunk back brings the failure back, in the replay or in the lint step."""
        units = without_each_hunk(self._case.tree, candidate.changes)
        if len(units) == 1 or candidate.atomic or candidate.side is Side.DEPENDENCY:
            if self._case.symptoms:
                # The tree without the patch is the one that failed, and not by chance: a name or
                # an argument is missing or it is not.
                return Step("necessity", True, "one unit; without it is the tree that failed")
            units = [("the whole patch", {})]
        if len(units) > _MOST_UNITS:
            return Step("necessity", False, f"{len(units)} hunks are too many to take back singly")

        def needed(unit: tuple[str, dict[str, str | None]]) -> bool:
            name, changes = unit
            if name != "the whole patch" and not self._clean(changes, candidate):
                return True
            run, failure = self._runner.replay(changes, wall_s=self._depth.replay_s)
            if name == "the whole patch":
                return not run.passed and same_failure(failure, self._case.failure)
            return not run.passed

        with ThreadPoolExecutor(_PARALLEL) as pool:
            results = list(pool.map(needed, units))
        spare = [name for (name, _), is_needed in zip(units, results, strict=True) if not is_needed]
        detail = f"{spare[0]} is not needed" if spare else "without it the failure is back"
        return Step("necessity", not spare, detail, observed={"hunks": len(units)})

    def _clean(self, changes: Mapping[str, str | None], candidate: Candidate) -> bool:
        texts = {path: (self._case.tree.read(path), text) for path, text in changes.items()}
        if refusals.refusal(candidate, texts):
            return False
        return self._lint(changes, candidate).passed

    def _affected(self, candidate: Candidate) -> Step:
        """The test files that name what was changed: no new failure, no test lost."""
        paths = self.affected(candidate)
        if not paths:
            return Step("affected tests", True, "no test file names what was changed")
        return self._compare("affected tests", candidate, paths, self._depth.affected_s)

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
                    if is_test(use.path) and not use.path.endswith("conftest.py"):
                        scores[use.path] += 3 - depth
        return [path for path, _ in scores.most_common(_MOST_AFFECTED_FILES)]

    def _suite(self, candidate: Candidate) -> Step:
        if not any(is_test(path) for path in self._case.tree.python_files):
            return Step("suite", True, "the repository has no tests of its own")
        return self._compare("suite", candidate, [], self._depth.suite_s)

    def _compare(self, name: str, candidate: Candidate, paths: list[str], wall_s: float) -> Step:
        waiting = self._baseline(tuple(paths), wall_s)
        after = self._runner.tests(
            candidate.changes, paths, wall_s=wall_s, readable=candidate.readable
        )
        before = waiting.result()
        broken, lost = new_failures(before, after), lost_tests(before, after)
        observed: dict[str, JsonValue] = {
            "passed_before": len(before.passed),
            "passed_after": len(after.passed),
            "failed_after": len(after.failed),
            "files": len(paths),
            "stopped": after.stopped or before.stopped,
        }
        if broken:
            return Step(name, False, f"{broken[0]} passed before and fails now", observed=observed)
        if lost and after.stopped is None:
            return Step(name, False, f"{lost[0]} is not collected any more", observed=observed)
        detail = f"{len(after.passed)} pass, no new failure"
        if after.stopped:
            detail += f" as far as it came ({after.stopped})"
        return Step(name, True, detail, observed=observed)


def _key(finding: tuple[str, str, int]) -> str:
    return f"{finding[0]} {finding[1]}"


def _rule(text: str) -> str:
    return text.split("]", 1)[0]


def _by_rule(found: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    counted: Counter[tuple[str, str]] = Counter()
    for (path, text), number in found.items():
        counted[path, _rule(text)] += number
    return counted
