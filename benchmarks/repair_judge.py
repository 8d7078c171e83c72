"""Whether a patch is right: by the original's syntax tree, else by what the agent never saw."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from homeostat.repair.evidence import defaults
from homeostat.repair.proof.runs import lost_tests, new_failures
from homeostat.repair.tree import Tree

if TYPE_CHECKING:
    from benchmarks.repair_defects import Defect
    from benchmarks.repair_packages import Package


def judge(package: Package, defect: Defect, patch: dict[str, str | None]) -> tuple[bool, str]:
    """Return whether the patched package is right, and by which measure."""
    final = {**defect.changes, **patch}
    if all(_same(package.tree, path, text) for path, text in final.items()):
        return True, "same syntax tree as the original"
    complaint = _signature(package.tree, final, defect)
    if complaint:
        return False, complaint
    after = package.runner.tests(final, [], wall_s=150)
    broken, lost = new_failures(package.good, after), lost_tests(package.good, after)
    missing = sorted(set(package.good.passed) - set(after.passed))
    if broken or missing:
        # What passes when it is run alone, or fails alone without the drift and the patch too,
        # tells of the machine's load or of the tests' order, and nothing of the patch.
        files = sorted({node.split("::")[0] for node in (*broken, *missing)})
        again = package.runner.tests(final, files, wall_s=150)
        unbroken = package.runner.tests({}, files, wall_s=150)
        excused = set(again.passed) | (set(package.good.passed) & set(unbroken.failed))
        broken = [node for node in broken if node not in excused]
        missing = [node for node in missing if node not in excused]
    if broken:
        return False, f"held-back test fails: {broken[0]}"
    if lost:
        return False, f"held-back test is lost: {lost[0]}"
    if missing:
        return False, f"held-back test does not pass: {missing[0]}"
    return True, "the held-back suite passes and the signature is the original's"


def _same(tree: Tree, path: str, text: str | None) -> bool:
    original = tree.read(path)
    if original is None or text is None:
        # An empty package file that the drift brought along harms nobody.
        return original == text or (original is None and not (text or "").strip())
    return _shape(original) == _shape(text)


def _shape(text: str) -> tuple[list[str], list[str]]:
    """Return a module's statements, its top-level imports one by one and in any order."""
    module = ast.parse(text)
    imports, rest = [], []
    for node in module.body:
        if isinstance(node, ast.ImportFrom):
            imports += [ast.dump(ast.ImportFrom(node.module, [n], node.level)) for n in node.names]
        elif isinstance(node, ast.Import):
            imports += [ast.dump(ast.Import([n])) for n in node.names]
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            rest.append(str(sorted(ast.unparse(item) for item in getattr(node.value, "elts", []))))
        else:
            rest.append(ast.dump(node))
    return sorted(imports), rest


def _signature(tree: Tree, final: dict[str, str | None], defect: Defect) -> str:
    """Compare the mended function's parameters, defaults and uses with the original's."""
    if defect.kind not in {"renamed_parameter", "dropped_default", "dropped_parameter"}:
        return ""
    path = next(iter(defect.changes))
    mine = _function(final.get(path) or "", defect.target)
    truth = _function(tree.text(path), defect.target)
    if mine is None or truth is None:
        return "the function is gone"
    names = [[a.arg for a in (*f.args.posonlyargs, *f.args.args)] for f in (mine, truth)]
    if sorted([*names[0], *_only(mine)]) != sorted([*names[1], *_only(truth)]):
        return f"parameters {names[0]} and not {names[1]}"
    if defect.kind != "dropped_parameter" and names[0] != names[1]:
        return f"parameters {names[0]} and not {names[1]}"
    values = [{k: ast.unparse(v) for k, v in defaults(f).items()} for f in (mine, truth)]
    if values[0] != values[1]:
        return f"defaults {values[0]} and not {values[1]}"
    uses = [
        sum(isinstance(node, ast.Name) and node.id == defect.name for node in ast.walk(f))
        for f in (mine, truth)
    ]
    return "" if uses[0] >= uses[1] else "the parameter is used less than in the original"


def _only(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    return [item.arg for item in function.args.kwonlyargs]


def _function(text: str, qualname: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    scope: ast.AST = ast.parse(text)
    for part in qualname.split("."):
        found = [
            node
            for node in ast.iter_child_nodes(scope)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and node.name == part
        ]
        if not found:
            return None
        scope = found[-1]
    return scope if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef) else None
