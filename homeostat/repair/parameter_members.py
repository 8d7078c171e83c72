"""The members of an enumeration that a default may be: of the annotation, or of what is given."""

from __future__ import annotations

import ast

from homeostat.repair.case import Case
from homeostat.repair.evidence import values_given
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
        for node in values_given(case.index, callee, name)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    ]
    return next(filter(None, (members_of(case, callee.path, one) for one in owners)), [])


def _is_enumeration(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).rpartition(".")[2] in _ENUMERATIONS for base in node.bases)
