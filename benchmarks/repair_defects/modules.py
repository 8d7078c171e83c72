"""Drift of where a name is found: exports, imports, modules, package files, circles."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from pathlib import PurePosixPath

from benchmarks.repair_defects.defect import Defect, cut, end, sources, valid
from homeostat.repair.index import Index
from homeostat.repair.tree import Tree


def _statement_without(text: str, node: ast.ImportFrom | ast.Import, drop: ast.alias) -> str:
    rest = [item for item in node.names if item is not drop]
    start, last = (node.lineno, node.col_offset), end(node)
    if rest:
        copy = (
            ast.ImportFrom(node.module, rest, node.level)
            if isinstance(node, ast.ImportFrom)
            else ast.Import(rest)
        )
        return cut(text, start, last, ast.unparse(copy))
    lines = text.splitlines(keepends=True)
    del lines[node.lineno - 1 : node.end_lineno]
    return "".join(lines)


def dropped_export(tree: Tree, rng: random.Random) -> Iterator[Defect]:
    """Take one name out of a package's imports from its modules, and out of `__all__`."""
    index = Index(tree)
    found = []
    for path in sources(tree):
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
        if valid(text):
            yield Defect("dropped_export", {path: text}, name,
                         ("ImportError", "AttributeError", "NameError"), path, name)  # fmt: skip


def dropped_import(tree: Tree, rng: random.Random) -> Iterator[Defect]:
    """Take one imported name away from a module that uses it in a function."""
    index = Index(tree)
    found = []
    for path in sources(tree):
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
        if valid(text):
            yield Defect("dropped_import", {path: text}, PurePosixPath(path).stem, ("NameError",),
                         path, name)  # fmt: skip


def moved_module(tree: Tree, rng: random.Random) -> Iterator[Defect]:
    """Give a module another name beside its place, or put it into a new folder below."""
    index = Index(tree)
    paths = [
        path
        for path in sources(tree)
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
    paths = [path for path in sources(tree) if path.endswith("/__init__.py")]
    rng.shuffle(paths)
    for path in paths:
        yield Defect("deleted_init", {path: None}, PurePosixPath(path).parent.name,
                     ("ImportError", "ModuleNotFoundError", "AttributeError"), path)  # fmt: skip


def circular_import(tree: Tree, rng: random.Random) -> Iterator[Defect]:
    """Lift a late import to the top of its module, or import back what imports this module."""
    index = Index(tree)
    found: list[Defect] = []
    for path in sources(tree):
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
    yield from (defect for defect in found if valid(defect.changes[defect.target] or ""))


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
    return _at_top("".join(lines), taken) if valid("".join(lines)) else "("
