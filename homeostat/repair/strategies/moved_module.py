"""A module is imported from a path where it no longer lies: it goes back to its place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

from homeostat.repair.case import Candidate, Case, DefectClass
from homeostat.repair.codemods.functions import parses
from homeostat.repair.evidence import is_test, similarity
from homeostat.repair.symptom import Kind, Symptom


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield the moves that would satisfy the import, best match first."""
    for symptom in case.symptoms:
        dotted = _missing_module(case, symptom)
        if dotted:
            yield from _moves(case, dotted)


def _missing_module(case: Case, symptom: Symptom) -> str:
    if symptom.kind is Kind.NO_MODULE:
        return symptom.name
    if symptom.kind in {Kind.CANNOT_IMPORT, Kind.CIRCULAR}:
        path = case.index.modules.get(symptom.subject)
        if path is not None and path.endswith("__init__.py"):
            return f"{symptom.subject}.{symptom.name}"
    return ""


def _home(case: Case, dotted: str) -> str | None:
    """Return the path where the module should lie, None where its top package is not ours."""
    parts = dotted.split(".")
    for length in range(len(parts) - 1, 0, -1):
        package = case.index.modules.get(".".join(parts[:length]))
        if package is not None and package.endswith("__init__.py"):
            folder = PurePosixPath(package).parent
            return (folder / "/".join(parts[length:])).as_posix() + ".py"
        for folder_name in case.tree.folders:
            if folder_name == "/".join(parts[:length]) or folder_name.endswith(
                ("src/" + "/".join(parts[:length]), "lib/" + "/".join(parts[:length]))
            ):
                return f"{folder_name}/{'/'.join(parts[length:])}.py"
    return None


def wanted_names(case: Case, dotted: str) -> set[str]:
    """Return the names that the tree imports from a module or reads as its attributes."""
    return {
        use.name
        for use in case.index.importers(dotted)
        if use.name and case.index.absolute(use) == dotted and use.name != "*"
    }


def _moves(case: Case, dotted: str) -> Iterator[Candidate]:
    home = _home(case, dotted)
    if home is None or case.tree.exists(home):
        return
    names = wanted_names(case, dotted)
    last = dotted.rsplit(".", 1)[-1]
    scored = []
    for path in case.tree.python_files:
        stem = PurePosixPath(path).stem
        if is_test(path) or stem == "__init__" or PurePosixPath(path).name == "setup.py":
            continue
        alike = 1.0 if stem == last else similarity(stem, last)
        has = names <= set(case.index.top_level(path)) if names else alike >= 0.6
        users = case.index.importers(case.index.dotted(path))
        if has and not users and (alike >= 0.4 or names):
            scored.append((alike, path))
    scored.sort(reverse=True)
    for alike, path in scored[:3]:
        text = relevelled(case, path, home)
        if not parses(text):
            continue
        clear = [item for item in scored if item[0] >= 0.8] or scored
        sure = len(clear) == 1 and clear[0][1] == path and (alike >= 0.8 or len(names) >= 2)
        yield Candidate(
            strategy="moved_module",
            defect=DefectClass.MOVED_MODULE,
            title=f"Move {path} back to {home}.",
            changes={path: None, home: text},
            score=0.3 + 0.6 * alike,
            rule="a unique move" if sure else "",
            waits_because="" if sure else "the module that moved is inferred",
            parameters={"from": path, "to": home, "module": dotted},
            atomic=True,
        )


def relevelled(case: Case, path: str, home: str) -> str:
    """Return a module's text with relative imports that resolve from its new place.

    An import that already resolves from there stands; one that resolves only from the present
    place is rewritten to name the same module.
    """
    text = case.tree.text(path)
    parsed = case.index.parsed(path)
    if parsed is None:
        return text
    lines = text.splitlines(keepends=True)
    target_package = _package_at(case, home)
    for node in ast.walk(parsed.module):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        names = [item.name for item in node.names]
        there = _resolve(target_package, node.level, node.module)
        here = _resolve(case.index.package_of(path), node.level, node.module)
        if _exists(case, there, names) or not _exists(case, here, names) or here is None:
            continue
        new = _relative(target_package, here)
        old = "." * node.level + (node.module or "")
        lines[node.lineno - 1] = lines[node.lineno - 1].replace(
            f"from {old} import", f"from {new} import", 1
        )
    return "".join(lines)


def _package_at(case: Case, home: str) -> str:
    for dotted, path in case.index.modules.items():
        if PurePosixPath(path).parent == PurePosixPath(home).parent:
            return dotted if path.endswith("__init__.py") else dotted.rpartition(".")[0]
    return case.index.dotted(home).rpartition(".")[0]


def _resolve(package: str, level: int, module: str | None) -> str | None:
    parts = package.split(".") if package else []
    if level - 1 > len(parts):
        return None
    base = parts[: len(parts) - (level - 1)]
    return ".".join([*base, *([module] if module else [])])


def _exists(case: Case, dotted: str | None, names: list[str]) -> bool:
    if dotted is None or dotted not in case.index.modules:
        return False
    path = case.index.modules[dotted]
    known = case.index.top_level(path)
    return all(
        name == "*" or name in known or f"{dotted}.{name}" in case.index.modules for name in names
    )


def _relative(package: str, module: str) -> str:
    mine, theirs = package.split("."), module.split(".")
    common = 0
    while common < min(len(mine), len(theirs)) and mine[common] == theirs[common]:
        common += 1
    return "." * (len(mine) - common + 1) + ".".join(theirs[common:])
