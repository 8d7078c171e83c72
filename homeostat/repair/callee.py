"""Which definition of the repository a failed call was about, and the classes it belongs to."""

from __future__ import annotations

import ast

from homeostat.repair.index import Definition, Index
from homeostat.repair.symptom import Symptom


def find_callee(index: Index, symptom: Symptom) -> Definition | None:
    """Return our own definition of what was called.

    The running program's word comes first (it was asked for the object called); the qualified
    name in the message and the index decide where it could not say.
    """
    place = symptom.fault.callee
    if place is not None and place.file is not None:
        if place.path is None:
            return _wrapped(index, symptom)
        found = index.in_file(place.path, place.qualname)
        if found and _matches(place.qualname, symptom.subject):
            return _nearest(found, place.line)
    if not symptom.subject:
        return None
    return _by_message(index, symptom)


def family(index: Index, name: str) -> list[Definition]:
    """Return our own class of that name and its bases, nearest first; none where it is not one."""
    found: list[Definition] = []
    waiting = [name] if name else []
    while waiting:
        classes = index.definitions(waiting.pop(0), ("class",))
        if len(classes) != 1 or classes[0] in found:
            continue
        found.append(classes[0])
        node = classes[0].node
        bases = node.bases if isinstance(node, ast.ClassDef) else []
        waiting += [ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in bases]
    return found


def methods_of(index: Index, path: str, owner: str) -> list[Definition]:
    """Return the methods of a class of ours; none where there is no class, as for a function."""
    parsed = index.parsed(path) if owner else None
    return [
        item
        for item in (parsed.definitions if parsed else ())
        if item.owner == owner and item.function is not None
    ]


def _wrapped(index: Index, symptom: Symptom) -> Definition | None:
    """Return our own function that an installed decorator has put a function of its own around.

    The wrapper has taken its name over, and only the scope in front of it is the decorator's.
    """
    scope, _, last = symptom.subject.rpartition(".")
    named = [item for item in index.definitions(last) if item.function is not None]
    decorated = [item for item in named if item.function and item.function.decorator_list]
    alone = len(named) == len(decorated) == 1
    return decorated[0] if alone and scope.endswith("<locals>") else None


def _matches(qualname: str, subject: str) -> bool:
    """Whether the message names the same function; a decorator's wrapper may stand in between."""
    return not subject or qualname.rsplit(".", 1)[-1] == subject.rsplit(".", 1)[-1]


def _nearest(found: list[Definition], line: int | None) -> Definition:
    return min(found, key=lambda item: abs(item.line - (line or item.line)))


def _by_message(index: Index, symptom: Symptom) -> Definition | None:
    last = symptom.subject.rsplit(".", 1)[-1]
    named = [item for item in index.definitions(last) if item.qualname == symptom.subject]
    named = [item for item in named if item.function is not None]
    if len(named) > 1:
        named = _near(index, symptom, named) or named
    if symptom.fault.callee is None and symptom.fault.frames and len(named) > 1:
        return None
    return named[0] if named else _wrapped(index, symptom)


def _near(index: Index, symptom: Symptom, named: list[Definition]) -> list[Definition]:
    """Keep the definitions in files that the failing file imports, or in that file itself."""
    frame = symptom.frame
    if frame is None or frame.path is None:
        return []
    parsed = index.parsed(frame.path)
    if parsed is None:
        return []
    modules = {index.absolute(use) for use in parsed.imports}
    modules |= {f"{index.absolute(use)}.{use.name}" for use in parsed.imports}
    return [item for item in named if item.path == frame.path or index.dotted(item.path) in modules]
