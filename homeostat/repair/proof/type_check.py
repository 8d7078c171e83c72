"""The type checker's step: no finding that the good commit had not."""

from __future__ import annotations

import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from homeostat.repair.case import Candidate, Case, Origin
from homeostat.repair.evidence import is_test
from homeostat.repair.history import UNCOMMITTED
from homeostat.repair.proof.record import Step
from homeostat.repair.proof.tools import type_errors
from homeostat.repair.proof.units import new_lines

_MOST_TYPED_FILES = 25

Findings = Counter[tuple[str, str]]


def type_step(case: Case, candidate: Candidate) -> Step:
    """No finding of ty that the good commit had not and that the patch has part in.

    Raises ToolMissingError where ty cannot be run.
    """
    paths = _typed_files(case, candidate)
    good_commit = _good_commit(case, candidate)
    lines = None if good_commit else _changed_lines(case, candidate)

    def patched() -> Findings:
        with tempfile.TemporaryDirectory(prefix="homeostat-types-") as folder:
            tree = case.tree.patched(candidate.changes, Path(folder) / "tree")
            return type_errors(tree.root, case.interpreter, paths, lines)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(patched)
        good, present, name = _good_types(case, good_commit, paths)
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


def _good_commit(case: Case, candidate: Candidate) -> str | None:
    """Return the commit to compare with: what a restore goes back to, else the one before this.

    What took the thing away may lie some commits back, and those since are no better than now.
    """
    commit = candidate.parameters.get("commit") if candidate.origin is Origin.HISTORY else None
    if isinstance(commit, str) and commit != UNCOMMITTED:
        return f"{commit}^"
    return case.history.last_good()


def _good_types(case: Case, good: str | None, paths: list[str]) -> tuple[Findings, Findings, str]:
    """Ty's findings in the good commit (or the present tree), and in the present tree."""
    present = type_errors(case.tree.root, case.interpreter, paths)
    if good is None:
        return present, present, "the present tree (there is no earlier commit)"
    changes = case.history.tree_at(good)
    if changes is None:
        return present, present, "the present tree (the commit cannot be read)"
    with tempfile.TemporaryDirectory(prefix="homeostat-types-") as folder:
        tree = case.tree.patched(changes, Path(folder) / "tree")
        return type_errors(tree.root, case.interpreter, paths), present, f"commit {_short(good)}"


def _typed_files(case: Case, candidate: Candidate) -> list[str]:
    """Return the changed files and those that import them: where a new finding can arise."""
    index = case.index
    found = [path for path in candidate.changes if path.endswith(".py")]
    for path in list(found):
        found += [use.path for use in index.importers(index.dotted(path)) if not is_test(use.path)]
    return list(dict.fromkeys(found))[:_MOST_TYPED_FILES]


def _changed_lines(case: Case, candidate: Candidate) -> dict[str, list[int]]:
    """Return the lines that a patch writes; a moved file is compared with where it came from.

    Without a good commit to compare with only these are judged: a name that can be resolved
    again shows the type checker what had always been there.
    """
    gone = [case.tree.read(path) for path, text in candidate.changes.items() if not text]
    found = {}
    for path, text in candidate.changes.items():
        before = case.tree.read(path)
        if text is not None:
            origins = [before] if before is not None else [*gone, None]
            found[path] = min((new_lines(old, text) for old in origins), key=len)
    return found


def _short(commit: str) -> str:
    return commit[:10] + commit[40:]


def _rule(text: str) -> str:
    return text.split("]", 1)[0]


def _by_rule(found: Findings) -> Findings:
    counted: Findings = Counter()
    for (path, text), number in found.items():
        counted[path, _rule(text)] += number
    return counted
