"""What a patch takes from the syntax trees of its files, and what it brings."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

from homeostat import syntax

#: Path → the file's text before and after the patch; None where there is no such file.
Texts = Mapping[str, tuple[str | None, str | None]]


@lru_cache(maxsize=64)
def parsed(text: str) -> tuple[ast.Module, tuple[ast.AST, ...]] | None:
    """Return the syntax tree and all its nodes; None where the text is no Python."""
    try:
        tree = syntax.parse(text)
    except (SyntaxError, ValueError):
        return None
    return tree, tuple(ast.walk(tree))


def count(texts: Texts, keys: Callable[[ast.AST], Iterator[str]], *, new: bool) -> Counter[str]:
    """Count what `keys` names in what a patch changes of Python files, after it or before it.

    Statements that stand in the files before and after it are in neither count.
    """
    found: Counter[str] = Counter()
    sides = _changed(tuple((path, *both) for path, both in texts.items()))
    for node in sides[1 if new else 0]:
        found.update(keys(node))
    return found


@lru_cache(maxsize=8)
def _changed(
    texts: tuple[tuple[str, str | None, str | None], ...],
) -> tuple[tuple[ast.AST, ...], tuple[ast.AST, ...]]:
    """Return the nodes of the statements that differ, before and after: a move is no difference."""
    sides: list[list[tuple[str, ast.stmt]]] = [[], []]
    for path, *both in texts:
        for side, text in zip(sides, both, strict=True):
            tree = parsed(text) if text is not None and path.endswith(".py") else None
            side.extend(_statements(tree[0].body if tree else [], (text or "").splitlines()))
    before, after = _differing(*sides)
    return (
        tuple(node for one in before for node in ast.walk(one)),
        tuple(node for one in after for node in ast.walk(one)),
    )


def _statements(body: list[ast.stmt], lines: list[str]) -> list[tuple[str, ast.stmt]]:
    """Return statements with their source; of a class its members, and the class without them."""
    found: list[tuple[str, ast.stmt]] = []
    for node in body:
        if isinstance(node, ast.ClassDef):
            bare = copy.copy(node)
            bare.body = []
            found += [(ast.dump(bare), bare), *_statements(node.body, lines)]
            continue
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
        found.append(("\n".join(lines[first - 1 : node.end_lineno]), node))
    return found


def _differing(
    before: list[tuple[str, ast.stmt]], after: list[tuple[str, ast.stmt]]
) -> tuple[list[ast.stmt], list[ast.stmt]]:
    had, has = Counter(text for text, _ in before), Counter(text for text, _ in after)
    lost, won = had - has, has - had
    return _taken(before, lost), _taken(after, won)


def _taken(side: list[tuple[str, ast.stmt]], texts: Counter[str]) -> list[ast.stmt]:
    found = []
    for text, node in side:
        if texts[text] > 0:
            texts[text] -= 1
            found.append(node)
    return found


def call_name(node: ast.AST) -> str:
    """Return the last name of what a node calls; empty where it is no call."""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name):
            return node.func.id
        if isinstance(node.func, ast.Attribute):
            return node.func.attr
        return "<expression>"
    return ""


def gone(texts: Texts, keys: Callable[[ast.AST], Iterator[str]]) -> Counter[str]:
    """Return what occurs less often after the patch, renames set off against each other."""
    before, after = count(texts, keys, new=False), count(texts, keys, new=True)
    lost, won = before - after, after - before
    return lost if lost.total() > won.total() else Counter()


def owner_name(node: ast.Attribute) -> str:
    """Return the plain name that an attribute is asked of; empty where it is more than a name."""
    return node.value.id if isinstance(node.value, ast.Name) else ""
