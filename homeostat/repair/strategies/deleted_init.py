"""A package has lost its `__init__.py`: it is written anew from what its users import from it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

from homeostat.repair.case import Candidate, Case, DefectClass
from homeostat.repair.codemods.functions import parses
from homeostat.repair.evidence import is_test
from homeostat.repair.index import Definition

#: Files that speak of names which may be gone long since.
_PAST = re.compile(r"(?i)(^|/)(changes|changelog|history|news|releases?)[\w.-]*$|whatsnew")


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield a new `__init__.py` for each package folder in the failure's sight that has none."""
    for folder in _folders_without(case):
        dotted = case.index.dotted(f"{folder}/__init__.py")
        users = [use for use in case.index.importers(dotted) if case.index.absolute(use) == dotted]
        names = {use.name for use in users if use.name and use.name != "*"}
        names |= _attributes(case, dotted)
        told = {name for name in _told(case, dotted) if _definition(case, name, folder)}
        yield from _written(case, folder, dotted, names | told | _public(case, folder), 0.05)
        yield from _written(case, folder, dotted, names | told, 0.0)


def _public(case: Case, folder: str) -> set[str]:
    """Return the public names that exactly one public module here offers, and no submodule has.

    A module offers its `__all__`, and where it has none what it defines without an underscore.
    """
    counted: Counter[str] = Counter()
    package = case.index.dotted(f"{folder}/__init__.py")
    for path in case.tree.python_files:
        module = path.removeprefix(f"{folder}/")
        parsed = case.index.parsed(path)
        if path == module or "/" in module or module.startswith("_") or is_test(path):
            continue
        defined = {
            name
            for name, item in case.index.top_level(path).items()
            if item.kind != "import" and not name.startswith("_")
        }
        offered = set(parsed.exported or ()) if parsed else set()
        counted.update(offered & set(case.index.top_level(path)) or defined)
    return {
        name
        for name, count in counted.items()
        if count == 1 and f"{package}.{name}" not in case.index.modules
    }


def _written(
    case: Case, folder: str, dotted: str, names: set[str], bonus: float
) -> Iterator[Candidate]:
    """Yield the package's file with these names exported."""
    missing = {
        symptom.name
        for symptom in case.symptoms
        if symptom.subject == dotted and symptom.name.isidentifier()
    }
    wanting = {use.path for use in case.index.importers(dotted)}
    early: list[str] = []
    late: list[str] = []
    unknown: list[str] = []
    for name in sorted({*names, *missing}):
        if f"{dotted}.{name}" in case.index.modules and _is_module(case, folder, dotted, name):
            late.append(f"from . import {name} as {name}\n")
            continue
        home = _definition(case, name, folder)
        if home is None:
            unknown.append(name)
            continue
        module = case.index.dotted(home.path)[len(dotted) + 1 :]
        # What itself imports from the package comes after what it may want of it.
        (late if home.path in wanting else early).append(
            f"from .{module} import {name} as {name}\n"
        )
    if unknown:
        # What nobody else defines was the file's own code, which cannot be written anew.
        return
    lines = [*early, *late]
    text = "".join(lines)
    if parses(text):
        yield Candidate(
            strategy="deleted_init",
            defect=DefectClass.DELETED_INIT,
            title=f"Write {folder}/__init__.py anew with {len(lines)} exports.",
            changes={f"{folder}/__init__.py": text},
            score=bonus + (0.75 if lines else 0.5),
            waits_because="the package's own content is inferred from its users",
            parameters={"path": f"{folder}/__init__.py", "exports": len(lines)},
            atomic=True,
        )


def _is_module(case: Case, folder: str, dotted: str, name: str) -> bool:
    """Whether users mean the module, and not what a module of that name defines by its own name."""
    home = _definition(case, name, folder)
    if home is None or case.index.dotted(home.path) != f"{dotted}.{name}":
        return True
    users = [use for use in case.index.importers(dotted) if use.name == name]
    called = {call.path for call in case.index.calls(name) if isinstance(call.node.func, ast.Name)}
    return not any(case.index.absolute(use) == dotted and use.path in called for use in users)


def _attributes(case: Case, dotted: str) -> set[str]:
    """Return what importing files read as the package's attributes."""
    found = set()
    for use in case.index.importers(dotted):
        parsed = case.index.parsed(use.path)
        whole = use.module == dotted and not use.name
        if parsed is None or not (whole or f"{case.index.absolute(use)}.{use.name}" == dotted):
            continue
        for node in ast.walk(parsed.module):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == use.bound
                and not node.attr.startswith("__")
            ):
                found.add(node.attr)
    return found


def _told(case: Case, dotted: str) -> set[str]:
    """Return what documents call of the package; some of it may be gone long since."""
    found: set[str] = set()
    pattern = re.compile(rf"(?<![\w./]){re.escape(dotted)}\.([A-Za-z]\w*)\(")
    for path in case.tree.files:
        if path.endswith((".md", ".rst", ".txt", ".py")) and not _PAST.search(path):
            found |= set(pattern.findall(case.tree.read(path) or ""))
    return found


def _folders_without(case: Case) -> list[str]:
    """Return package folders without the file: named in a symptom, or holding packages."""
    subjects = {
        name
        for symptom in case.symptoms
        for name in (symptom.subject, symptom.name, symptom.name.rpartition(".")[0])
        if name
    }
    if not case.symptoms:
        return []
    found = []
    for folder in sorted(case.tree.folders):
        inside = f"{folder}/__init__.py"
        if case.tree.exists(inside) or is_test(inside) or folder in {"src", "lib", "docs", "tools"}:
            continue
        dotted = case.index.dotted(inside)
        seen = any(
            frame.path and frame.path.startswith(folder + "/")
            for fault in case.failure.faults
            for frame in fault.own_frames
        )
        if dotted in subjects or seen:
            found.append(folder)
    return found


def _definition(case: Case, name: str, folder: str) -> Definition | None:
    found = [
        item
        for item in case.index.definitions(name, ("function", "class", "assignment"))
        if "." not in item.qualname
        and item.path.startswith(folder + "/")
        and not is_test(item.path)
    ]
    return found[0] if len({item.path for item in found}) == 1 else None
