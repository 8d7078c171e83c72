"""The members of an enumeration that a default may be: of the annotation, or of what is given."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from homeostat.repair.case import Case
from homeostat.repair.evidence import callers
from homeostat.repair.index import Definition

_ENUMERATIONS = frozenset({"Enum", "IntEnum", "StrEnum", "Flag", "IntFlag", "ReprEnum"})


def members_of(case: Case, path: str, name: str) -> list[str]:
    """Return the members of our own enumeration that `path` knows by `name`, as it writes them."""
    if name not in case.index.top_level(path):
        return []
    found = case.index.definitions(name, ("class",))
    node = found[0].node if len(found) == 1 else None
    if not isinstance(node, ast.ClassDef) or not _is_enumeration(node):
        return []
    return [
        f"{name}.{target.id}"
        for statement in node.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name) and not target.id.startswith("_")
    ]


def members_for(case: Case, callee: Definition, name: str, annotation: str) -> list[str]:
    """Return the members that a parameter's annotation, or what its callers give, speaks of."""
    owners = [annotation.partition("|")[0].strip()]
    owners += [
        node.value.id
        for call in callers(case.index, callee)
        for node in _given(callee, call.node, name)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    ]
    return next(filter(None, (members_of(case, callee.path, one) for one in owners)), [])


def _given(callee: Definition, call: ast.Call, name: str) -> Iterator[ast.expr]:
    yield from (item.value for item in call.keywords if item.arg == name)
    if callee.function is not None:
        names = [
            item.arg for item in (*callee.function.args.posonlyargs, *callee.function.args.args)
        ]
        if names[:1] in (["self"], ["cls"]):
            names = names[1:]
        yield from (one for word, one in zip(names, call.args, strict=False) if word == name)


def _is_enumeration(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).rpartition(".")[2] in _ENUMERATIONS for base in node.bases)
