"""Mechanical drift: small edits of a package's source that break its users, one class each.

Each generator yields defects from a tree; the original text is the ground truth. Nothing here
knows any package.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from homeostat.repair.codemods.functions import rename_parameter
from homeostat.repair.evidence import defaults, is_test
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


def _sources(tree: Tree) -> list[str]:
    return [
        path
        for path in tree.python_files
        if not is_test(path)
        and path.split("/")[0] not in {"docs", "doc", "examples", "benchmarks", "scripts", "tools"}
        and PurePosixPath(path).name not in {"setup.py", "noxfile.py", "tasks.py"}
        and "/" in path
    ]


def _functions(tree: Tree, index: Index, rng: random.Random) -> list[Definition]:
    found = [
        item
        for path in _sources(tree)
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


def _cut(text: str, start: tuple[int, int], end: tuple[int, int], new: str = "") -> str:
    """Replace the text between two (line, UTF-8 column) positions."""
    lines = text.splitlines(keepends=True)
    head = lines[start[0] - 1].encode()[: start[1]].decode()
    tail = lines[end[0] - 1].encode()[end[1] :].decode()
    return "".join([*lines[: start[0] - 1], head, new, tail, *lines[end[0] :]])


def _end(node: ast.AST) -> tuple[int, int]:
    return node.end_lineno, node.end_col_offset  # type: ignore[attr-defined]  # located


def _valid(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def renamed_parameter(tree: Tree, rng: random.Random) -> Iterator[Defect]:
    """Rename a parameter, in signature and body, that somebody gives by keyword."""
    index = Index(tree)
    for item in _functions(tree, index, rng):
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
            if text and _valid(text):
                yield Defect("renamed_parameter", {item.path: text}, called, ("TypeError",),
                             item.qualname, name)  # fmt: skip


def dropped_default(tree: Tree, rng: random.Random) -> Iterator[Defect]:
    """Take the first default of a signature away."""
    index = Index(tree)
    for item in _functions(tree, index, rng):
        function = item.function
        if function is None or not defaults(function):
            continue
        name, value = next(iter(defaults(function).items()))
        arg = next(
            arg
            for arg in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
            if arg.arg == name
        )
        text = _cut(tree.text(item.path), _end(arg.annotation or arg), _end(value))
        if _valid(text):
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
    for item in _functions(tree, index, rng):
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
            if text and _valid(text):
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
        text = _cut(text, (node.lineno, node.col_offset), _end(node), ast.unparse(value))
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    position = next(at for at, arg in enumerate(every) if arg.arg == name)
    arg = every[position]
    if position == 0:
        return None
    before = every[position - 1]
    previous = defaults(function).get(before.arg)
    start = _end(previous or before.annotation or before)
    if arg in function.args.kwonlyargs and before not in function.args.kwonlyargs:
        return None
    return _cut(text, start, _end(value)) if arg else None


def renamed_function(tree: Tree, rng: random.Random) -> Iterator[Defect]:
    """Rename a function or method at its definition only."""
    index = Index(tree)
    for item in _functions(tree, index, rng):
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


def _statement_without(text: str, node: ast.ImportFrom | ast.Import, drop: ast.alias) -> str:
    rest = [item for item in node.names if item is not drop]
    start, end = (node.lineno, node.col_offset), _end(node)
    if rest:
        copy = (
            ast.ImportFrom(node.module, rest, node.level)
            if isinstance(node, ast.ImportFrom)
            else ast.Import(rest)
        )
        return _cut(text, start, end, ast.unparse(copy))
    lines = text.splitlines(keepends=True)
    del lines[node.lineno - 1 : node.end_lineno]
    return "".join(lines)


def dropped_export(tree: Tree, rng: random.Random) -> Iterator[Defect]:
    """Take one name out of a package's imports from its modules, and out of `__all__`."""
    index = Index(tree)
    found = []
    for path in _sources(tree):
        parsed = index.parsed(path)
        if parsed is None or not path.endswith("__init__.py"):
            continue
        for node in parsed.module.body:
            if isinstance(node, ast.ImportFrom) and node.level:
                found += [(path, node, item) for item in node.names if item.name != "*"]
    rng.shuffle(found)
    for path, node, item in found:
        name = item.asname or item.name
        parsed = index.parsed(path)
        if parsed is None or len(set(parsed.uses.get(name, ())) - {node.lineno}) > 1:
            continue
        text = _statement_without(tree.text(path), node, item)
        for line in text.splitlines(keepends=True):
            if line.strip() in {f'"{name}",', f"'{name}',"}:
                text = text.replace(line, "", 1)
        if _valid(text):
            yield Defect("dropped_export", {path: text}, name,
                         ("ImportError", "AttributeError", "NameError"), path, name)  # fmt: skip


def dropped_import(tree: Tree, rng: random.Random) -> Iterator[Defect]:
    """Take one imported name away from a module that uses it in a function."""
    index = Index(tree)
    found = []
    for path in _sources(tree):
        parsed = index.parsed(path)
        if parsed is None or path.endswith("__init__.py"):
            continue
        for node in parsed.module.body:
            if isinstance(node, ast.Import | ast.ImportFrom) and not (
                isinstance(node, ast.ImportFrom) and node.module == "__future__"
            ):
                found += [(path, node, item) for item in node.names if item.name != "*"]
    rng.shuffle(found)
    for path, node, item in found:
        name = item.asname or item.name.split(".")[0]
        parsed = index.parsed(path)
        if parsed is None or not parsed.uses.get(name):
            continue
        text = _statement_without(tree.text(path), node, item)
        if _valid(text):
            yield Defect("dropped_import", {path: text}, PurePosixPath(path).stem, ("NameError",),
                         path, name)  # fmt: skip


def moved_module(tree: Tree, rng: random.Random) -> Iterator[Defect]:
    """Give a module another name beside its place, or put it into a new folder below."""
    index = Index(tree)
    paths = [
        path
        for path in _sources(tree)
        if not path.endswith(("__init__.py", "__main__.py")) and index.importers(index.dotted(path))
    ]
    rng.shuffle(paths)
    for path in paths:
        pure = PurePosixPath(path)
        new = rng.choice([
            pure.with_name(f"{pure.stem}_impl.py"), pure.with_name(f"_{pure.stem}_moved.py"),
            pure.with_name(f"new_{pure.stem}.py"), pure.parent / "internal" / pure.name,
        ])  # fmt: skip
        text = tree.text(path)
        changes: dict[str, str | None] = {path: None}
        if new.parent != pure.parent:
            text = text.replace("\nfrom .", "\nfrom ..")
            changes[(new.parent / "__init__.py").as_posix()] = ""
        changes[new.as_posix()] = text
        yield Defect("moved_module", changes, pure.stem, ("ModuleNotFoundError", "ImportError"),
                     path)  # fmt: skip


def deleted_init(tree: Tree, rng: random.Random) -> Iterator[Defect]:
    """Delete a package's `__init__.py`."""
    paths = [path for path in _sources(tree) if path.endswith("/__init__.py")]
    rng.shuffle(paths)
    for path in paths:
        yield Defect("deleted_init", {path: None}, PurePosixPath(path).parent.name,
                     ("ImportError", "ModuleNotFoundError", "AttributeError"), path)  # fmt: skip


def circular_import(tree: Tree, rng: random.Random) -> Iterator[Defect]:
    """Lift a late import to the top of its module, or import back what imports this module."""
    index = Index(tree)
    found: list[Defect] = []
    for path in _sources(tree):
        parsed = index.parsed(path)
        if parsed is None:
            continue
        for item in parsed.definitions:
            for node in item.function.body if item.function else ():
                if isinstance(node, ast.ImportFrom) and node.level:
                    text = _lifted(tree.text(path), parsed.module, node)
                    found.append(_circle(path, text))
        for use in parsed.imports:
            back = index.modules.get(index.absolute(use))
            if not (use.top and use.level and back) or back == path or back.endswith("__init__.py"):
                continue
            mine = [
                item.name
                for item in parsed.definitions
                if "." not in item.qualname and item.kind in {"function", "class"}
            ]
            if mine and index.package_of(back) == index.package_of(path):
                line = f"from .{PurePosixPath(path).stem} import {mine[0]}\n"
                found.append(_circle(back, _at_top(tree.text(back), line)))
    rng.shuffle(found)
    yield from (defect for defect in found if _valid(defect.changes[defect.target] or ""))


def _circle(path: str, text: str) -> Defect:
    return Defect("circular_import", {path: text}, PurePosixPath(path).stem,
                  ("ImportError", "AttributeError"), path)  # fmt: skip


def _at_top(text: str, line: str) -> str:
    module = ast.parse(text)
    at = 0
    for node in module.body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
        if not docstring and not future:
            break
        at = node.end_lineno or 0
    lines = text.splitlines(keepends=True)
    return "".join([*lines[:at], line, *lines[at:]])


def _lifted(text: str, module: ast.Module, node: ast.ImportFrom) -> str:
    del module
    lines = text.splitlines(keepends=True)
    taken = ast.unparse(node) + "\n"
    del lines[node.lineno - 1 : node.end_lineno]
    return _at_top("".join(lines), taken) if _valid("".join(lines)) else "("


def none_guard(tree: Tree, rng: random.Random) -> Iterator[Defect]:
    """Take `if x is None: …` away."""
    index = Index(tree)
    for item in _functions(tree, index, rng):
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
                if _valid("".join(lines)):
                    yield Defect("none_guard", {item.path: "".join(lines)}, item.name,
                                 ("AttributeError", "TypeError"), item.qualname)  # fmt: skip


def dict_get(tree: Tree, rng: random.Random) -> Iterator[Defect]:
    """Turn `d.get(key)` into `d[key]`."""
    index = Index(tree)
    for item in _functions(tree, index, rng):
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
                new = _cut(text, start, _end(node), f"{owner}[{key}]")
                if _valid(new):
                    yield Defect("dict_get", {item.path: new}, item.name, ("KeyError",),
                                 item.qualname)  # fmt: skip


INJECTORS: dict[str, Callable[[Tree, random.Random], Iterator[Defect]]] = {
    "renamed_parameter": renamed_parameter,
    "dropped_default": dropped_default,
    "renamed_function": renamed_function,
    "dropped_export": dropped_export,
    "dropped_import": dropped_import,
    "moved_module": moved_module,
    "circular_import": circular_import,
    "dropped_parameter": dropped_parameter,
    "deleted_init": deleted_init,
    "none_guard": none_guard,
    "dict_get": dict_get,
}
#: The classes for which the evidence is clear.
CLEAR = tuple(INJECTORS)[:7]
