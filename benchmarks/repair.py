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
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.repair_cases import valid_defects
from benchmarks.repair_defects import INJECTORS, Defect
from benchmarks.repair_judge import judge
from benchmarks.repair_packages import PYTEST, Package, fetch, make_python, run
from benchmarks.repair_summary import Result, summary
from homeostat.repair.agent import Apply, Options, RepairOutcome, Status, fix
from homeostat.repair.evidence import is_test
from homeostat.repair.index import Index
from homeostat.repair.knowledge import Knowledge


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
    """Hide every test file but the failing one, and what it and the support files import."""
    files = {item.split("::")[0] for item in package.good.collected}
    index = Index(package.tree)
    support = [path for path in package.tree.python_files if is_test(path) and path not in files]
    shown, waiting = set(), [node.split("::", maxsplit=1)[0], *support]
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
