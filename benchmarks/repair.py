"""How many injected defects the coding agent mends: right, waiting, refused, wrong.

    python -m benchmarks.repair --packages humanize packaging --per-class 3 --json

Packages come by name from pip as source archives with their tests. Each case is validated: a
test that passed before now fails with the expected kind of exception. The agent sees one test
file, the one that fails; the others are held back and judge its patch, together with the syntax
tree of the original. With `--history` the original is the commit before.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.repair_defects import CLEAR, INJECTORS, Defect
from benchmarks.repair_judge import judge
from benchmarks.repair_packages import PYTEST, Package, fetch, make_python, run
from homeostat.repair.agent import Apply, Options, RepairOutcome, Status, fix
from homeostat.repair.evidence import is_test
from homeostat.repair.failure import Failure
from homeostat.repair.index import Index
from homeostat.repair.knowledge import Knowledge
from homeostat.repair.proof.runs import Runner


@dataclass(frozen=True)
class Result:
    """One case and how it ended."""

    package: str
    kind: str
    history: bool
    outcome: str
    status: str
    right: bool
    seconds: float
    repeat_s: float | None
    target: str
    test: str
    title: str
    reason: str
    stages: dict[str, float] = field(default_factory=dict)
    repeat_stages: dict[str, float] = field(default_factory=dict)


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


def run_case(package: Package, defect: Defect, node: str, folder: Path, *, history: bool) -> Result:
    """Lay out the repository, run the agent, judge, and run it again from knowledge."""
    repository = folder / "repository"
    visible = _visible(package, node)
    package.tree.patched(visible, repository)
    _commit(repository, "The package", first=True)
    if not history:
        run("rm", "-rf", str(repository / ".git"))
    _write(repository, defect.changes)
    _commit(repository, "Drift", first=not history)
    node_id = node.replace("'", "'\\''")
    command = f"PYTHONPATH={package.source} {package.python} {PYTEST} -x '{node_id}'"
    knowledge = Knowledge.at(folder / "knowledge.sqlite3")
    options = Options(apply=Apply.POLICY, knowledge=knowledge)
    start = time.perf_counter()
    outcome = fix(repository, command, options)
    seconds = time.perf_counter() - start
    right, reason = _judged(package, defect, outcome)
    repeat, repeat_stages = None, {}
    if outcome.status is Status.APPLIED and right:
        _write(repository, defect.changes)
        _commit(repository, "Drift again", first=False)
        again = fix(repository, command, options)
        repeat, repeat_stages = repeat_seconds(again), stages_of(again)
        if not (again.from_knowledge and again.status is Status.APPLIED):
            repeat = None
            reason += " (not repeated from knowledge)"
    chosen = outcome.chosen
    return Result(
        package.name, defect.kind, history, _four(outcome, right=right), outcome.status.value,
        right, seconds, repeat, defect.target, node, chosen.candidate.title if chosen else "",
        reason if chosen else "; ".join(
            f"{item.candidate.title} → {item.proof.refusal}" for item in outcome.refused[:4]
        ) or outcome.failure,
        stages_of(outcome), repeat_stages,
    )  # fmt: skip


def repeat_seconds(again: RepairOutcome) -> float:
    """Return the seconds from the known incident to the applied patch.

    Reproducing it is the incident itself; what of the proof ran beside that is counted.
    """
    steps = again.chosen.proof.steps if again.chosen else ()
    run = next((step for step in steps if step.name == "replay"), None)
    beside = max(0.0, float(str(run.observed["run_s"])) - run.seconds) if run else 0.0
    return again.seconds - again.timings["reproduce"] - again.timings["copy"] + beside


def stages_of(outcome: RepairOutcome) -> dict[str, float]:
    """Return the seconds of each part of a repair, the chosen proof's steps one by one."""
    found = {name: round(value, 2) for name, value in outcome.timings.items()}
    for step in outcome.chosen.proof.steps if outcome.chosen else ():
        found[f"step {step.name}"] = round(step.seconds, 2)
    return found


def _judged(package: Package, defect: Defect, outcome: RepairOutcome) -> tuple[bool, str]:
    if outcome.chosen is None:
        return False, ""
    return judge(package, defect, dict(outcome.chosen.candidate.changes))


def _four(outcome: RepairOutcome, *, right: bool) -> str:
    if outcome.chosen is None:
        return "refused"
    if not right:
        return "wrong"
    return "right" if outcome.status is Status.APPLIED else "waiting"


def _visible(package: Package, node: str) -> dict[str, str | None]:
    """Hide every test file but the failing one and what it imports; the rest is support."""
    files = {item.split("::")[0] for item in package.good.collected}
    index = Index(package.tree)
    shown, waiting = set(), [node.split("::", maxsplit=1)[0]]
    while waiting:
        path = waiting.pop()
        parsed = None if path in shown else index.parsed(path)
        shown.add(path)
        for use in parsed.imports if parsed else ():
            module = index.absolute(use)
            tails = {module, f"{module}.{use.name}"}
            waiting += [other for other in files if _ends(index.dotted(other), tails)]
    return {path: None for path in files if path not in shown and is_test(path)}


def _ends(dotted: str, tails: set[str]) -> bool:
    """Whether a module may be imported under one of the names, from whatever folder."""
    return any(dotted == tail or dotted.endswith(f".{tail}") for tail in tails)


def _write(repository: Path, changes: dict[str, str | None]) -> None:
    for path, text in changes.items():
        target = repository / path
        if text is None:
            target.unlink(missing_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", newline="")


def _commit(repository: Path, message: str, *, first: bool) -> None:
    if first:
        run("git", "init", "-q", ".", cwd=repository)
        run("git", "config", "user.email", "bench@example.org", cwd=repository)
        run("git", "config", "user.name", "Benchmark", cwd=repository)
    run("git", "add", "-A", cwd=repository)
    run("git", "commit", "-q", "-m", message, cwd=repository)


def percentile(values: list[float], share: float) -> float | None:
    """Return the value below which a share of the values lies (nearest rank)."""
    if not values:
        return None
    return round(sorted(values)[max(0, math.ceil(share * len(values)) - 1)], 2)


def summary(results: list[Result]) -> dict[str, Any]:
    """Count the results: over all, per class, and with and without history apart."""
    per_class: dict[str, Counter[str]] = defaultdict(Counter)
    per_history: dict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        wrong = result.outcome
        if wrong == "wrong":
            wrong = "wrong_applied" if result.status == "applied" else "wrong_waiting"
        per_class[result.kind][wrong] += 1
        per_history["history" if result.history else "no_history"][wrong] += 1
    clear = [item for item in results if item.kind in CLEAR]
    first, repeat = [r.seconds for r in results], [r.repeat_s for r in results if r.repeat_s]
    return {
        "cases": len(results),
        "fixed": sum(item.right for item in results),
        "applied": sum(item.right and item.status == "applied" for item in results),
        "waiting": sum(item.right and item.status == "waiting" for item in results),
        "refused": sum(item.outcome == "refused" for item in results),
        "wrong_waiting": sum(i.outcome == "wrong" and i.status != "applied" for i in results),
        "wrong_applied": sum(i.outcome == "wrong" and i.status == "applied" for i in results),
        "clear_cases": len(clear),
        "clear_fixed": sum(item.right for item in clear),
        "per_class": {kind: dict(counts) for kind, counts in sorted(per_class.items())},
        "per_history": {kind: dict(counts) for kind, counts in per_history.items()},
        "first_fix_p50_s": percentile(first, 0.5),
        "first_fix_p95_s": percentile(first, 0.95),
        "repeat_fix_p50_s": percentile(repeat, 0.5),
        "repeat_fix_p95_s": percentile(repeat, 0.95),
        "repeats": len(repeat),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", nargs="+", required=True)
    parser.add_argument("--per-class", type=int, default=2)
    parser.add_argument("--classes", nargs="*", default=list(INJECTORS))
    parser.add_argument("--history", choices=["with", "without", "both"], default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for downloads, kept for the next run")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cases", type=Path, help="write each case as a JSON line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="repair-bench-") as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        results = list(_all(options, folder.resolve()))
    counted = summary(results)
    if options.json:
        print(json.dumps(counted, indent=2))
        return
    for name, value in counted.items():
        print(f"{name:20} {value}")


def _all(options: argparse.Namespace, folder: Path) -> Iterator[Result]:
    python = make_python(folder)
    histories = {"with": [True], "without": [False], "both": [False, True]}[options.history]
    for name in options.packages:
        package = fetch(name, folder, python)
        if package is None:
            print(f"{name}: left out, its tests do not run here", file=sys.stderr)
            continue
        for kind in options.classes:
            for defect, node in valid_defects(package, kind, options.per_class, options.seed):
                for history in histories:
                    with tempfile.TemporaryDirectory(prefix="repair-case-") as case:
                        result = run_case(package, defect, node, Path(case), history=history)
                    _report(result, options.cases)
                    yield result


def _report(result: Result, cases: Path | None) -> None:
    print(
        f"{result.outcome:8} {result.kind:18} {result.package} {result.target} "
        f"{'history' if result.history else 'none':8}"
        f"{result.seconds:5.1f} s  {result.title[:90]}  {result.reason[:200]}",
        file=sys.stderr, flush=True,
    )  # fmt: skip
    if cases is not None:
        with cases.open("a") as file:
            file.write(json.dumps(vars(result)) + "\n")


if __name__ == "__main__":
    main()
