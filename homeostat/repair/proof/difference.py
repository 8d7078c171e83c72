"""What a patch takes from the syntax trees of its files, and what it brings."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

#: Path → the file's text before and after the patch; None where there is no such file.
Texts = Mapping[str, tuple[str | None, str | None]]


@lru_cache(maxsize=64)
def parsed(text: str) -> tuple[ast.Module, tuple[ast.AST, ...]] | None:
    """Return the syntax tree and all its nodes; None where the text is no Python."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    return tree, tuple(ast.walk(tree))


def count(texts: Texts, keys: Callable[[ast.AST], Iterator[str]], *, new: bool) -> Counter[str]:
    """Count what `keys` names in the Python files, after the patch or before it."""
    found: Counter[str] = Counter()
    for path, (before, after) in texts.items():
        text = after if new else before
        found_in = parsed(text) if text is not None and path.endswith(".py") else None
        for node in found_in[1] if found_in else ():
            found.update(keys(node))
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
