"""Drift of what a function bears: a guard against None, a key that may be missing."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator

from benchmarks.repair_defects.defect import Defect, cut, end, functions, valid
from homeostat.repair.index import Index
from homeostat.repair.tree import Tree


def none_guard(tree: Tree, rng: random.Random) -> Iterator[Defect]:
    """Take `if x is None: …` away."""
    index = Index(tree)
    for item in functions(tree, index, rng):
        for node in item.function.body if item.function else ():
            if (
                isinstance(node, ast.If)
                and not node.orelse
                and isinstance(node.test, ast.Compare)
                and isinstance(node.test.ops[0], ast.Is)
                and ast.unparse(node.test.comparators[0]) == "None"
            ):
                lines = tree.text(item.path).splitlines(keepends=True)
                del lines[node.lineno - 1 : node.end_lineno]
                if valid("".join(lines)):
                    yield Defect("none_guard", {item.path: "".join(lines)}, item.name,
                                 ("AttributeError", "TypeError"), item.qualname)  # fmt: skip


def dict_get(tree: Tree, rng: random.Random) -> Iterator[Defect]:
    """Turn `d.get(key)` into `d[key]`."""
    index = Index(tree)
    for item in functions(tree, index, rng):
        for node in ast.walk(item.node):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "get"
                and node.args
                and not node.keywords
            ):
                text = tree.text(item.path)
                owner = ast.get_source_segment(text, node.func.value)
                key = ast.get_source_segment(text, node.args[0])
                start = (node.lineno, node.col_offset)
                new = cut(text, start, end(node), f"{owner}[{key}]")
                if valid(new):
                    yield Defect("dict_get", {item.path: new}, item.name, ("KeyError",),
                                 item.qualname)  # fmt: skip
