"""A package no longer offers a name that one of its modules still defines: the export returns."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from homeostat.repair.case import Candidate, Case, DefectClass
from homeostat.repair.codemods.functions import parses
from homeostat.repair.codemods.imports import Import, add_import, add_to_all
from homeostat.repair.evidence import is_test
from homeostat.repair.index import Definition
from homeostat.repair.strategies.renamed_definition import likely_renamed, owners
from homeostat.repair.symptom import Kind, Symptom


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield the import that brings the name back into the module that lacks it."""
    for symptom in case.symptoms:
        if symptom.kind not in {Kind.CANNOT_IMPORT, Kind.NO_ATTRIBUTE, Kind.CIRCULAR}:
            continue
        for path, owner in owners(case, symptom):
            if owner == "":
                yield from _exports(case, symptom, path)


def _exports(case: Case, symptom: Symptom, path: str) -> Iterator[Candidate]:
    name = symptom.name
    bound = case.index.top_level(path)
    if name in bound and not for_checkers(case, path, bound[name]):
        return
    homes = sources_of(case, name, path)
    submodule = f"{case.index.package_of(path)}.{name}"
    if path.endswith("__init__.py") and submodule in case.index.modules and not homes:
        text = add_import(case.tree.text(path), Import("", name, "", 1))
        yield _candidate(path, name, text, case.index.modules[submodule], alone=True, score=0.8)
        return
    # What only the type checkers see may be meant to be imported late.
    late = name in bound
    alone = len(homes) == 1 and not late and not likely_renamed(case, path, name)
    for rank, item in enumerate(homes):
        text = export(case, path, item, name)
        if parses(text):
            yield _candidate(path, name, text, item.path, alone=alone, score=0.8 - 0.1 * rank)


def for_checkers(case: Case, path: str, item: Definition) -> bool:
    """Whether a name is imported for the type checkers alone, and so is not bound in a run."""
    parsed = case.index.parsed(path)
    return any(
        isinstance(node, ast.If)
        and ast.unparse(node.test).endswith("TYPE_CHECKING")
        and node.body[0].lineno <= item.line <= (node.body[-1].end_lineno or item.line)
        for node in (parsed.module.body if parsed else ())
    )


def sources_of(case: Case, name: str, path: str) -> list[Definition]:
    """Return where `name` is defined at top level, best first.

    Modules from which `path` imports already go first, then modules of the same package, then
    the rest of the tree; where any of the first kinds exists the rest does not count.
    """
    found = [
        item
        for item in case.index.definitions(name, ("function", "class", "assignment"))
        if "." not in item.qualname and item.path != path and not is_test(item.path)
    ]
    unique: dict[str, Definition] = {item.path: item for item in found}
    parsed = case.index.parsed(path)
    used = {case.index.absolute(use) for use in parsed.imports} if parsed else set()
    package = case.index.package_of(path)

    def rank(item: Definition) -> int:
        dotted = case.index.dotted(item.path)
        if dotted in used:
            return 0
        return 1 if dotted.startswith(package + ".") else 2

    ranked = sorted(unique.values(), key=lambda item: (rank(item), item.path))
    if not ranked:
        return []
    best = rank(ranked[0])
    return [item for item in ranked if rank(item) == best]


def import_of(case: Case, path: str, source: str, name: str) -> Import:
    """Return the import of `name` from the file `source`, in the style of the file `path`."""
    module = case.index.dotted(source)
    parsed = case.index.parsed(path)
    imports = parsed.imports if parsed else []
    for use in imports:
        if use.name and case.index.absolute(use) == module:
            return Import(use.module, name, "", use.level)
    package = case.index.package_of(path)
    relative = any(use.level for use in imports) or not any(
        use.module.split(".")[0] == package.split(".")[0] for use in imports
    )
    if package and relative:
        mine, theirs = package.split("."), module.split(".")
        common = 0
        while common < min(len(mine), len(theirs)) and mine[common] == theirs[common]:
            common += 1
        if common:
            return Import(".".join(theirs[common:]), name, "", len(mine) - common + 1)
    return Import(module, name)


def export(case: Case, path: str, item: Definition, name: str) -> str:
    """Return `path`'s text with the export added, in `__all__` too where its siblings are."""
    text = case.tree.text(path)
    wanted = import_of(case, path, item.path, name)
    parsed = case.index.parsed(path)
    exported = parsed.exported if parsed else None
    result = add_import(text, wanted)
    if exported is not None and name not in exported:
        bound = {use.bound for use in (parsed.imports if parsed else []) if use.top and use.name}
        if bound and len(bound & set(exported)) >= len(bound) / 2:
            result = add_to_all(result, name) or result
    return result


def _candidate(
    path: str, name: str, text: str, source: str, *, alone: bool, score: float
) -> Candidate:
    return Candidate(
        strategy="dropped_export",
        defect=DefectClass.DROPPED_EXPORT,
        title=f"Export {name!r} from {path} again; {source} defines it.",
        changes={path: text},
        score=score + 0.1 * alone,
        rule="a unique export" if alone else "",
        waits_because="" if alone else "several definitions may be meant",
        parameters={"path": path, "name": name, "source": source},
        atomic=True,
    )
