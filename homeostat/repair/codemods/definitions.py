"""Renaming what a module or a class defines."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from homeostat import syntax

_DEFINING = re.compile(r"(?:async\s+def|def|class)\s+")

#: A place in a source: line from 1, column in bytes from 0.
Place = tuple[int, int]


def rename_definition(source: str, qualname: str, new: str) -> str | None:
    """Rename a function, class or assigned name to `new` in one file; None if it is not there.

    Its uses in the same file follow: a module-level name is used as a plain name, a member as an
    attribute. Nothing but these words changes. None also where a place does not hold the name
    that the syntax tree says (before Python 3.12 it is wrong inside f-strings).
    """
    owner, _, old = qualname.rpartition(".")
    module = syntax.parse(source)
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    defined = set(_definitions(module, "", owner, old, lines))
    if not defined:
        return None
    uses = _attributes(module, old) if owner else _names(module, old)
    word = old.encode()
    for number, column in sorted(defined | set(uses), reverse=True):
        line = lines[number - 1]
        if line[column : column + len(word)] != word:
            return None
        lines[number - 1] = line[:column] + new.encode() + line[column + len(word) :]
    return b"".join(lines).decode()


def _definitions(
    node: ast.AST, scope: str, owner: str, old: str, lines: list[bytes]
) -> Iterator[Place]:
    """Yield where `owner.old` is bound."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if scope == owner and child.name == old:
                yield child.lineno, _name_column(lines[child.lineno - 1], child.col_offset)
            inner = child.name if isinstance(child, ast.ClassDef) else f"{child.name}.<locals>"
            below = f"{scope}.{inner}" if scope else inner
            yield from _definitions(child, below, owner, old, lines)
            continue
        targets: list[ast.expr] = []
        if isinstance(child, ast.Assign):
            targets = child.targets
        elif isinstance(child, ast.AnnAssign):
            targets = [child.target]
        for target in targets:
            if isinstance(target, ast.Name) and target.id == old and scope == owner:
                yield target.lineno, target.col_offset
        yield from _definitions(child, scope, owner, old, lines)


def _name_column(line: bytes, column: int) -> int:
    matched = _DEFINING.match(line[column:].decode())
    return column + (len(matched[0].encode()) if matched else 0)


def _names(module: ast.Module, old: str) -> Iterator[Place]:
    for node in ast.walk(module):
        if isinstance(node, ast.Name) and node.id == old:
            yield node.lineno, node.col_offset


def _attributes(module: ast.Module, old: str) -> Iterator[Place]:
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and node.attr == old:
            yield node.end_lineno or node.lineno, (node.end_col_offset or 0) - len(old.encode())
