"""An installed package has changed: it is not ours to mend, so its caller is adapted.

A name that is gone is looked for under a similar name, elsewhere in the same package, and in the
standard library. All of it waits for a person, because what an installed package means by its
change only a person can read.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from homeostat.repair import installed
from homeostat.repair.case import Candidate, Case, DefectClass, Origin, Side
from homeostat.repair.codemods.functions import parses
from homeostat.repair.evidence import is_test, similarity
from homeostat.repair.failure import Frame
from homeostat.repair.strategies.adapted_caller import WHY, adapted, foreign
from homeostat.repair.strategies.dropped_import import _STANDARD, _public_names
from homeostat.repair.symptom import Kind, Symptom

_NAME = "installed_package"
_LEAST_SIMILAR = 0.4


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield adapted callers."""
    for symptom in case.symptoms:
        frame = symptom.frame
        if frame is None or frame.path is None or is_test(frame.path):
            continue
        if symptom.kind is Kind.CANNOT_IMPORT and foreign(case, symptom.subject):
            yield from _import(case, symptom, frame, frame.path)
        elif symptom.kind is Kind.NO_MODULE and foreign(case, symptom.name):
            yield from _module(case, symptom, frame.path)


def homes(case: Case, module: str, name: str) -> list[tuple[str, str, float]]:
    """Return (module, name, score) where something like `module.name` can be found now."""
    found: list[tuple[str, str, float]] = []
    top = module.split(".", maxsplit=1)[0]
    found += [
        (dotted, name, 0.9 - 0.02 * dotted.count("."))
        for dotted in installed.defining(case.interpreter, top, name)
        if dotted != module
    ]
    found += [(dotted, name, 0.95) for dotted in installed.taken_from(case.interpreter, top, name)]
    for shorter in _variants(name):
        for standard in (f"{module}.abc", *_STANDARD):
            if _in_standard(case, standard, shorter):
                found.append((standard, shorter, 0.85 if shorter == name else 0.7))
                break
    for other in installed.names_of(case.interpreter, module):
        alike = similarity(other, name)
        if other != name and alike >= _LEAST_SIMILAR and not other.startswith("__"):
            found.append((module, other, 0.75 * alike))
    return sorted(found, key=lambda item: -item[2])[:6]


def _in_standard(case: Case, module: str, name: str) -> bool:
    if module.split(".", maxsplit=1)[0] not in case.interpreter.stdlib:
        return False
    try:
        return name in _public_names(module)
    except ImportError:
        return False


def _variants(name: str) -> list[str]:
    """Return the name, and the name without its first words (`url_quote`, `quote`)."""
    words = name.split("_")
    return [name, *("_".join(words[at:]) for at in range(1, len(words)) if len(words[at]) > 2)]


def _import(case: Case, symptom: Symptom, frame: Frame, path: str) -> Iterator[Candidate]:
    text = case.tree.text(path)
    parsed = case.index.parsed(path)
    node = _import_at(parsed.module if parsed else ast.Module([], []), frame.line, symptom.name)
    if node is None:
        return
    alias = next(item for item in node.names if item.name == symptom.name)
    bound = alias.asname or alias.name
    others = {
        lost: found[0][:2]
        for lost in _lost_names(case, symptom.subject) - {symptom.name}
        if (found := homes(case, symptom.subject, lost))
    }
    for module, name, score in homes(case, symptom.subject, symptom.name):
        changes = _everywhere(case, symptom.subject, {**others, symptom.name: (module, name)})
        if path in changes and all(parses(changed) for changed in changes.values()):
            yield Candidate(
                strategy=_NAME,
                defect=DefectClass.DEPENDENCY_DRIFT,
                title=f"Import {bound} as {module}.{name} in {', '.join(changes)}: "
                f"{symptom.subject} has {symptom.name} no longer.",
                changes=dict(changes),
                origin=Origin.RELOCATION,
                side=Side.CALLER,
                score=score,
                waits_because=WHY,
                parameters={"from": f"{symptom.subject}.{symptom.name}", "to": f"{module}.{name}"},
                atomic=True,
            )
    yield from _widened(path, text, parsed.module if parsed else None, node)


def _foreign_imports(case: Case, module: str) -> Iterator[tuple[str, ast.ImportFrom]]:
    """Yield the repository's own imports from an installed module, last lines first."""
    for parsed in case.index.files_with(module.rsplit(".", 1)[-1]):
        nodes = [
            node
            for node in ast.walk(parsed.module)
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == module
        ]
        if not is_test(parsed.path):
            for node in sorted(nodes, key=lambda item: -item.lineno):
                yield parsed.path, node


def _lost_names(case: Case, module: str) -> set[str]:
    """Return all names that the repository imports from a module which has them no longer."""
    known = installed.names_of(case.interpreter, module)
    wanted = {item.name for _, node in _foreign_imports(case, module) for item in node.names}
    return wanted - known - {"*"} if known else set()


def _everywhere(case: Case, module: str, homes_of: dict[str, tuple[str, str]]) -> dict[str, str]:
    """Return each own file that imports a lost name, with the imports of what replaces them."""
    changes: dict[str, str] = {}
    for path, node in _foreign_imports(case, module):
        gone = [item for item in node.names if item.name in homes_of]
        if not gone:
            continue
        kept = [item for item in node.names if item not in gone]
        lines = changes.get(path, case.tree.text(path)).splitlines(keepends=True)
        indent = " " * node.col_offset
        new = []
        if kept:
            new.append(f"{indent}{ast.unparse(ast.ImportFrom(module, kept, 0))}\n")
        for item in gone:
            home, name = homes_of[item.name]
            bound = item.asname or item.name
            suffix = "" if name == bound else f" as {bound}"
            new.append(f"{indent}from {home} import {name}{suffix}\n")
        lines[node.lineno - 1 : node.end_lineno] = new
        changes[path] = "".join(lines)
    return changes


def _import_at(module: ast.Module, line: int, name: str) -> ast.ImportFrom | None:
    for node in ast.walk(module):
        if (
            isinstance(node, ast.ImportFrom)
            and node.lineno <= line <= (node.end_lineno or node.lineno)
            and any(item.name == name for item in node.names)
        ):
            return node
    return None


def _widened(
    path: str, text: str, module: ast.Module | None, node: ast.stmt
) -> Iterator[Candidate]:
    """Where the import is guarded against a missing module, guard it against a missing name too."""
    for item in ast.walk(module) if module else ():
        if not isinstance(item, ast.Try) or node not in item.body:
            continue
        for handler in item.handlers:
            if isinstance(handler.type, ast.Name) and handler.type.id == "ModuleNotFoundError":
                lines = text.splitlines(keepends=True)
                line = handler.type.lineno - 1
                lines[line] = lines[line].replace("ModuleNotFoundError", "ImportError", 1)
                yield from adapted(
                    _NAME, path, "".join(lines),
                    f"Let the guard in {path} also take a name that is gone (ImportError).", 0.95,
                )  # fmt: skip


def _module(case: Case, symptom: Symptom, path: str) -> Iterator[Candidate]:
    """A submodule that has moved inside its package."""
    top, _, _ = symptom.name.partition(".")
    last = symptom.name.rsplit(".", 1)[-1]
    text = case.tree.text(path)
    for dotted, _file in installed.modules_of(case.interpreter, top):
        alike = similarity(dotted.rsplit(".", 1)[-1].lstrip("_"), last.lstrip("_"))
        if dotted != symptom.name and alike >= 0.8:
            old = re.escape(symptom.name)
            changed = re.sub(
                rf"(?m)^(\s*(?:from|import)\s+){old}(?=[\s.])", rf"\g<1>{dotted}", text
            )
            yield from adapted(
                _NAME, path, changed, f"Import {dotted} in {path}, where {symptom.name} went.",
                0.6 * alike, Origin.RELOCATION,
            )  # fmt: skip
