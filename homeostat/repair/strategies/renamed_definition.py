"""A function, method or class is asked for by a name that it no longer has: it gets it back."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from homeostat.repair.case import Candidate, Case, DefectClass
from homeostat.repair.codemods.definitions import rename_definition
from homeostat.repair.codemods.functions import parses
from homeostat.repair.evidence import SIMILAR, is_test, similarity
from homeostat.repair.index import Definition
from homeostat.repair.symptom import Kind, Symptom

_KINDS = {Kind.CANNOT_IMPORT, Kind.NO_ATTRIBUTE, Kind.UNDEFINED_NAME}
_LEAST_SIMILAR = 0.35
#: The members most alike by name that are looked at; a large module has hundreds.
_MOST_MEMBERS = 12


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield a rename for each definition of the same owner that nobody uses under its new name."""
    for symptom in case.symptoms:
        if symptom.kind not in _KINDS:
            continue
        for path, owner in owners(case, symptom):
            members = _members(case, path, owner)
            if symptom.name in members:
                continue
            likely = sorted(members.values(), key=lambda item: -similarity(item.name, symptom.name))
            for item in likely[:_MOST_MEMBERS]:
                candidate = renamed(case, symptom.name, item)
                if candidate is not None:
                    yield candidate


def owners(  # noqa: C901 - the running program's word, then each kind of message
    case: Case, symptom: Symptom
) -> Iterator[tuple[str, str]]:
    """Yield (path, qualified name) of the module or classes that should have the name."""
    seen: set[tuple[str, str]] = set()

    def new(path: str | None, qualname: str) -> bool:
        if path is None or (path, qualname) in seen:
            return False
        seen.add((path, qualname))
        return True

    place = symptom.fault.owner
    if place is not None:
        for base in place.bases or (place,):
            if base.path is not None and new(base.path, base.qualname):
                yield base.path, base.qualname
        return
    if symptom.kind is Kind.UNDEFINED_NAME:
        frame = symptom.frame
        if frame is not None and frame.path is not None:
            yield frame.path, ""
        return
    path = case.index.modules.get(symptom.subject)
    if path is not None and new(path, ""):
        yield path, ""
    last = symptom.subject.rsplit(".", 1)[-1]
    for item in case.index.definitions(last, ("class",)):
        if item.qualname == symptom.subject and new(item.path, item.qualname):
            yield item.path, item.qualname


def _members(case: Case, path: str, owner: str) -> dict[str, Definition]:
    parsed = case.index.parsed(path)
    if parsed is None:
        return {}
    return {
        item.name: item
        for item in parsed.definitions
        if item.owner == owner and item.kind != "import"
    }


def likely_renamed(case: Case, path: str, wanted: str) -> str:
    """Return what a module defines and nobody uses, and may have been called `wanted` before."""
    return next(
        (
            name
            for name, item in _members(case, path, "").items()
            if item.function is not None
            and similarity(name, wanted) >= SIMILAR
            and not case.index.uses(name)
        ),
        "",
    )


def _defined_elsewhere(case: Case, item: Definition, wanted: str) -> str:
    """Return another module of the repository that defines the wanted name, or nothing."""
    found = [
        other.path
        for other in case.index.definitions(wanted)
        if "." not in other.qualname and other.path != item.path and not is_test(other.path)
    ]
    return found[0] if found else ""


def _users(case: Case, item: Definition) -> list[tuple[str, int]]:
    """Return where what is defined may be used: a method of another file's only as an attribute."""
    found = case.index.uses(item.name)
    if not item.owner or item.function is None:
        return found
    asked = {
        (path, node.lineno)
        for path in {path for path, _ in found}
        if (parsed := case.index.parsed(path))
        for node in ast.walk(parsed.module)
        if (isinstance(node, ast.Attribute) and node.attr == item.name)
        or (isinstance(node, ast.Constant) and node.value == item.name)
    }
    return [use for use in found if use[0] == item.path or use in asked]


def renamed(case: Case, wanted: str, item: Definition, *, told: bool = False) -> Candidate | None:
    """Return what is defined by the wanted name, None where it is not likely to have had it.

    `told` says that more than the names speaks for it; who uses the present one then only waits.
    """
    present = item.name
    if wanted.startswith("__") != present.startswith("__"):
        return None
    alike = similarity(present, wanted)
    users = _users(case, item)
    elsewhere = [use for use in users if use[0] != item.path]
    if not told and alike < _LEAST_SIMILAR and (users or item.kind == "assignment"):
        return None
    if not told and alike < SIMILAR and elsewhere:
        return None
    if isinstance(item.node, ast.Assign | ast.AnnAssign) and alike < SIMILAR:
        return None
    text = rename_definition(case.tree.text(item.path), item.qualname, wanted)
    if text is None or not parses(text):
        return None
    problem = ""
    if item.owner == "" and (other := _defined_elsewhere(case, item, wanted)):
        problem = f"{other} defines {wanted!r}, which may have been imported"
    elif elsewhere:
        problem = f"{present!r} is used in {elsewhere[0][0]}"
    elif users:
        problem = f"{present!r} is used in its own file"
    elif alike < SIMILAR:
        problem = f"{present!r} and {wanted!r} are alike only to {alike:.2f}"
    votes = min(len(case.index.uses(wanted)), 5)
    return Candidate(
        strategy="renamed_definition",
        defect=DefectClass.RENAMED_DEFINITION,
        title=f"Rename {item.qualname} in {item.path} back to {wanted!r}.",
        changes={item.path: text},
        score=0.1 + 0.7 * alike + 0.03 * votes - 0.3 * bool(elsewhere) - 0.1 * bool(users),
        rule="" if problem else "rename, similarity ≥ 0.8 and no user of the new name",
        waits_because=problem,
        parameters={
            "path": item.path,
            "from": item.qualname,
            "to": wanted,
            "similarity": round(alike, 3),
        },
        atomic=True,
    )
