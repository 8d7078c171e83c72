"""An injected defect, and what every injector needs of a source."""

from __future__ import annotations

import ast
import random
from dataclasses import dataclass
from pathlib import PurePosixPath

from homeostat.repair.evidence import is_test
from homeostat.repair.index import Definition, Index
from homeostat.repair.tree import Tree


@dataclass(frozen=True)
class Defect:
    """An injected defect: the broken files, and which name its tests will mention."""

    kind: str
    changes: dict[str, str | None]
    mention: str
    expected: tuple[str, ...]
    target: str
    name: str = ""


def sources(tree: Tree) -> list[str]:
    """Return the package's own modules: no tests, documents or tools."""
    return [
        path
        for path in tree.python_files
        if not is_test(path)
        and path.split("/")[0] not in {"docs", "doc", "examples", "benchmarks", "scripts", "tools"}
        and PurePosixPath(path).name not in {"setup.py", "noxfile.py", "tasks.py"}
        and "/" in path
    ]


def functions(tree: Tree, index: Index, rng: random.Random) -> list[Definition]:
    """Return the functions and methods in a random order, overloads and properties left out."""
    found = [
        item
        for path in sources(tree)
        if (parsed := index.parsed(path))
        for item in parsed.definitions
        if item.function is not None
        and "<locals>" not in item.qualname
        and not any(
            "overload" in ast.unparse(node) or "property" in ast.unparse(node)
            for node in item.function.decorator_list
        )
    ]
    rng.shuffle(found)
    return found


def cut(text: str, start: tuple[int, int], end: tuple[int, int], new: str = "") -> str:
    """Replace the text between two (line, UTF-8 column) positions."""
    lines = text.splitlines(keepends=True)
    head = lines[start[0] - 1].encode()[: start[1]].decode()
    tail = lines[end[0] - 1].encode()[end[1] :].decode()
    return "".join([*lines[: start[0] - 1], head, new, tail, *lines[end[0] :]])


def end(node: ast.AST) -> tuple[int, int]:
    """Return where a node ends."""
    return node.end_lineno, node.end_col_offset  # type: ignore[attr-defined]  # located


def valid(text: str) -> bool:
    """Whether a text is Python."""
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True
