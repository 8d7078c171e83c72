"""Drift of what a function is called with: parameters, defaults, and its name."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator

from benchmarks.repair_defects.defect import Defect, cut, end, functions, valid
from homeostat.repair.codemods.functions import rename_parameter
from homeostat.repair.evidence import defaults
from homeostat.repair.index import Index
from homeostat.repair.tree import Tree


def renamed_parameter(tree: Tree, rng: random.Random) -> Iterator[Defect]:
    """Rename a parameter, in signature and body, that somebody gives by keyword."""
    index = Index(tree)
    for item in functions(tree, index, rng):
        function = item.function
        if function is None:
            continue
        called = item.owner.rsplit(".", 1)[-1] if item.name == "__init__" else item.name
        keywords = {word for call in index.calls(called) for word in call.keywords}
        names = [arg.arg for arg in (*function.args.args, *function.args.kwonlyargs)]
        for name in [name for name in names if name in keywords][:1]:
            new = rng.choice(
                [f"{name}_value", f"new_{name}", f"{name}s", f"{name}_", f"the_{name}", f"{name}2"]
            )
            text = rename_parameter(tree.text(item.path), item.qualname, name, new)
            if text and valid(text):
                yield Defect("renamed_parameter", {item.path: text}, called, ("TypeError",),
                             item.qualname, name)  # fmt: skip


def dropped_default(tree: Tree, rng: random.Random) -> Iterator[Defect]:
    """Take the first default of a signature away."""
    index = Index(tree)
    for item in functions(tree, index, rng):
        function = item.function
        if function is None or not defaults(function):
            continue
        name, value = next(iter(defaults(function).items()))
        arg = next(
            arg
            for arg in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
            if arg.arg == name
        )
        text = cut(tree.text(item.path), end(arg.annotation or arg), end(value))
        if valid(text):
            called = item.owner.rsplit(".", 1)[-1] if item.name == "__init__" else item.name
            yield Defect("dropped_default", {item.path: text}, called, ("TypeError",),
                         item.qualname, name)  # fmt: skip


class _Substitute(ast.NodeVisitor):
    """Collects the places where a name is read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reads: list[ast.Name] = []
        self.other = False

    def visit_Name(self, node: ast.Name) -> None:
        """A use of the name."""
        if node.id == self.name:
            if isinstance(node.ctx, ast.Load):
                self.reads.append(node)
            else:
                self.other = True


def dropped_parameter(tree: Tree, rng: random.Random) -> Iterator[Defect]:
    """Take a parameter with a constant default away, and write the default where it was read."""
    index = Index(tree)
    for item in functions(tree, index, rng):
        function = item.function
        if function is None:
            continue
        constants = {
            name: value
            for name, value in defaults(function).items()
            if isinstance(value, ast.Constant)
        }
        called = item.owner.rsplit(".", 1)[-1] if item.name == "__init__" else item.name
        keywords = {word for call in index.calls(called) for word in call.keywords}
        for name in [name for name in constants if name in keywords][:1]:
            text = _without_parameter(tree.text(item.path), function, name, constants[name])
            if text and valid(text):
                yield Defect("dropped_parameter", {item.path: text}, called, ("TypeError",),
                             item.qualname, name)  # fmt: skip


def _without_parameter(
    text: str, function: ast.FunctionDef | ast.AsyncFunctionDef, name: str, value: ast.Constant
) -> str | None:
    finder = _Substitute(name)
    for statement in function.body:
        finder.visit(statement)
    if finder.other or not finder.reads:
        return None
    for node in sorted(finder.reads, key=lambda node: (-node.lineno, -node.col_offset)):
        text = cut(text, (node.lineno, node.col_offset), end(node), ast.unparse(value))
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    position = next(at for at, arg in enumerate(every) if arg.arg == name)
    arg = every[position]
    if position == 0:
        return None
    before = every[position - 1]
    previous = defaults(function).get(before.arg)
    start = end(previous or before.annotation or before)
    if arg in function.args.kwonlyargs and before not in function.args.kwonlyargs:
        return None
    return cut(text, start, end(value)) if arg else None


def renamed_function(tree: Tree, rng: random.Random) -> Iterator[Defect]:
    """Rename a function or method at its definition only."""
    index = Index(tree)
    for item in functions(tree, index, rng):
        name = item.name
        if name.startswith("__") or len(index.definitions(name)) != 1:
            continue
        new = rng.choice([f"{name}_v2", f"do_{name}", f"{name}_impl", f"new_{name}", f"{name}s"])
        text = tree.text(item.path)
        lines = text.splitlines(keepends=True)
        line = item.function.lineno - 1 if item.function else 0
        lines[line] = lines[line].replace(f"def {name}", f"def {new}", 1)
        yield Defect("renamed_function", {item.path: "".join(lines)}, name,
                     ("AttributeError", "ImportError", "NameError"),
                     item.qualname, name)  # fmt: skip
