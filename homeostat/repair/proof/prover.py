"""The prover: takes a candidate through the steps and stops at the first that fails."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from homeostat.repair.case import Candidate, Case, Origin, Side
from homeostat.repair.evidence import is_test
from homeostat.repair.proof import refusals
from homeostat.repair.proof.known import known_of
from homeostat.repair.proof.record import Proof, Step
from homeostat.repair.proof.runs import Runner, same_failure
from homeostat.repair.proof.suite import Depth, Suite
from homeostat.repair.proof.tools import ToolMissingError, lint
from homeostat.repair.proof.type_check import type_step
from homeostat.repair.proof.units import new_lines, same_line, without_each_hunk
from homeostat.repair.sandbox import Isolation
from homeostat.repair.symptom import Kind
from homeostat.repair.tree import Tree

#: Both processors at most: a proof shares the host with the work that it mends.
_PARALLEL = 2
_MOST_UNITS = 8
#: What a guard is the remedy for: with it the failing statement is rightly left out.
_MAY_BE_GONE_AROUND = frozenset({Kind.NONE_VALUE, Kind.MISSING_KEY, Kind.LENGTH})

__all__ = ["Depth", "Prover"]

_FOREIGN = frozenset({Origin.LLM, Origin.PIN})
_FOREIGN_STRATEGIES = frozenset({"language_model", "dependency_pin"})


def watch_of(tree: Tree, root: Path, candidate: Candidate) -> dict[str, Any]:
    """Return what a replay follows: the lines that the patch writes, and the traced parameters."""
    return {
        "lines": {
            str(root / path): new_lines(tree.read(path), text)
            for path, text in candidate.changes.items()
            if text and path.endswith(".py")
        },
        "parameters": [{"function": f, "name": n} for f, n in candidate.traced],
    }


class Prover:
    """Proves candidates for one case."""

    def __init__(self, case: Case, runner: Runner, depth: Depth) -> None:
        self._case = case
        self._runner = runner
        self._depth = depth
        self._pool = ThreadPoolExecutor(_PARALLEL)
        self._suite = Suite(case, runner, depth, self._pool)
        self._known = known_of(case)

    def begin(self) -> None:
        """Start what every proof needs, while the candidates are still being looked for."""
        if self._runner.is_pytest and self._depth.suite:
            self._suite.begin()

    def prove(self, candidate: Candidate) -> Proof:
        """Take the steps in order until one fails."""
        steps: list[Step] = []
        for name, take in self._steps(candidate):
            start = time.perf_counter()
            try:
                taken = take()
            except ToolMissingError as error:
                taken = [Step(name, False, str(error))]
            seconds = (time.perf_counter() - start) / len(taken)
            steps += [replace(step, seconds=seconds) for step in taken]
            if not all(step.passed for step in taken):
                break
        sandbox = self._runner.sandbox
        return Proof(tuple(steps), sandbox.isolation.value, sandbox.protections)

    def behind(self, candidate: Candidate) -> Proof:
        """Run the tests behind an instant replay, whose files and patch were proven before."""
        steps = self._suite.steps(candidate) if self._runner.is_pytest else []
        sandbox = self._runner.sandbox
        return Proof(tuple(steps), sandbox.isolation.value, sandbox.protections)

    def _steps(self, candidate: Candidate) -> Iterator[tuple[str, Callable[[], list[Step]]]]:
        yield "isolation", lambda: [self._isolation(candidate)]
        yield "scope", lambda: [self._scope(candidate)]
        if candidate.origin is Origin.KNOWLEDGE:
            yield "replay", lambda: [self._replay(candidate)]
            return
        self.begin()
        yield "lint", lambda: [self._lint(candidate.changes, candidate)]
        # The replay is under way while the type checker runs; it counts only after it.
        replay = self._pool.submit(self._replay, candidate)
        yield "types", lambda: [type_step(self._case, candidate)]
        yield "replay", lambda: [replay.result()]
        yield "necessity", lambda: [self._necessity(candidate)]
        if self._runner.is_pytest:
            yield "affected tests", lambda: self._suite.steps(candidate)

    def close(self) -> None:
        """Let go of what still runs."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _isolation(self, candidate: Candidate) -> Step:
        """Without isolation nothing is run that does not come from the repository."""
        isolated = self._runner.sandbox.isolation is Isolation.BUBBLEWRAP
        # A replay from knowledge is as foreign as the strategy that it was learnt from.
        foreign = candidate.origin in _FOREIGN or candidate.strategy in _FOREIGN_STRATEGIES
        if foreign and not isolated:
            return Step("isolation", False, "bubblewrap is missing and the patch is not our own")
        detail = "in bubblewrap" if isolated else "limits only: bubblewrap does not work here"
        return Step("isolation", True, detail)

    def _scope(self, candidate: Candidate) -> Step:
        texts = {
            path: (self._case.tree.read(path), text) for path, text in candidate.changes.items()
        }
        reason = refusals.refusal(candidate, texts, self._known)
        return Step("scope", not reason, reason or "small, inside, and nothing is taken away")

    def _lint(self, changes: Mapping[str, str | None], candidate: Candidate) -> Step:
        """No new finding of ruff's F, E9 and ARG in the changed files.

        What a file brings along from the place that it was moved from is not new.
        """
        gone: Counter[str] = Counter()
        for path, text in changes.items():
            if text is None:
                gone += self._findings(path, self._case.tree.read(path))
        found: Counter[str] = Counter()
        for path, text in changes.items():
            before = self._case.tree.read(path)
            new = self._findings(path, text) - self._findings(path, before)
            if before is None:
                new -= gone
            # A package's file exists to import, and a restored one may have had findings.
            restored = candidate.origin is Origin.HISTORY
            harmless = ("F401", "ARG") if restored else ("F401",)
            if restored or before is None or path.endswith("__init__.py"):
                new = Counter({key: n for key, n in new.items() if not key.startswith(harmless)})
            found += new
        first = next(iter(found), "")
        return Step("lint", not found, first or "no new finding of F, E9, ARG")

    @staticmethod
    def _findings(path: str, text: str | None) -> Counter[str]:
        if not text or not path.endswith(".py"):
            return Counter()
        return Counter(f"{code} {message}" for code, message, _ in lint(path, text))

    def _replay(self, candidate: Candidate) -> Step:
        """The failing command failed before, passes now, and the changed lines really ran."""
        case = self._case
        root = case.repository
        watch = watch_of(case.tree, root, candidate)
        lines: dict[str, list[int]] = watch["lines"]
        struck = self._where_it_struck(candidate)
        watch["lines"] = {
            file: sorted({*lines.get(file, ()), *struck.get(file, ())})
            for file in (*lines, *struck)
        }
        run, after = self._runner.replay(
            candidate.changes,
            wall_s=self._depth.replay_s,
            watch=watch,
            readable=candidate.readable,
        )
        if not run.passed:
            said = run.stopped or after.headline
            return Step("replay", False, f"the command still fails: {said}")
        watched = next((item for item in run.records if item["kind"] == "watched"), {})
        seen: dict[str, list[int]] = watched.get("lines", {})
        ran = {
            str(Path(file).relative_to(root)): sorted(set(numbers) & set(lines.get(file, [])))
            for file, numbers in seen.items()
        }
        carried = watched.get("carried", {})
        observed = {
            "before": case.failure.headline,
            "after": "passed",
            "changed_lines_run": ran,
            "parameters": carried,
            "run_s": round(run.seconds, 3),
        }
        if not watched and candidate.side is not Side.DEPENDENCY:
            observed["changed_lines_run"] = "not observed"
        elif not all(set(there) <= set(seen.get(file, ())) for file, there in struck.items()):
            return Step("replay", False, "the statement that failed is not reached any more",
                        observed=observed)  # fmt: skip
        elif lines and not any(ran.values()) and any(lines.values()):
            return Step("replay", False, "no changed line ran, so the patch is not the reason",
                        observed=observed)  # fmt: skip
        return Step("replay", True, "failed before, passes after", observed=observed)

    def _where_it_struck(self, candidate: Candidate) -> dict[str, list[int]]:
        """Return the lines of our own sources that a model's patch leaves and that failed.

        A patch under which they are not reached any more has gone around the failure.
        """
        found: dict[str, list[int]] = {}
        if candidate.origin is not Origin.LLM:
            return found
        for symptom in self._case.symptoms[:1]:
            frame = symptom.frame
            if frame is None or frame.path is None or symptom.kind in _MAY_BE_GONE_AROUND:
                continue
            before = self._case.tree.read(frame.path)
            after = candidate.changes.get(frame.path, before)
            line = same_line(before, after, frame.line)
            if line is not None and not is_test(frame.path):
                found[str(self._case.repository / frame.path)] = [line]
        return found

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
        if refusals.refusal(candidate, texts, self._known):
            return False
        return self._lint(changes, candidate).passed
