"""One source file read with `ast`: its definitions, calls, imports and uses.

Parsed files are kept for the process, by their content.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from homeostat import syntax

Kind = Literal["function", "class", "assignment", "import"]
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Definition:
    """A name bound in a module or a class; `qualname` as Python's own (`Outer.method`)."""

    path: str
    qualname: str
    kind: Kind
    node: ast.AST
    line: int
    end_line: int

    @property
    def name(self) -> str:
        """The last part of the qualified name."""
        return self.qualname.rsplit(".", 1)[-1]

    @property
    def owner(self) -> str:
        """The qualified name of the class or function around it, empty at module level."""
        return self.qualname.rpartition(".")[0]

    @property
    def function(self) -> FunctionNode | None:
        """The function's node, None where this is no function."""
        return self.node if isinstance(self.node, FunctionNode) else None


@dataclass(frozen=True)
class CallUse:
    """A call of something named `name`: its keywords and the number of positional arguments."""

    path: str
    line: int
    end_line: int
    name: str
    keywords: tuple[str, ...]
    positional: int
    starred: bool
    node: ast.Call


@dataclass(frozen=True)
class ImportUse:
    """One imported name: `from module import name as alias` at `level`, or `import module`."""

    path: str
    line: int
    module: str
    name: str
    alias: str
    level: int
    top: bool

    @property
    def bound(self) -> str:
        """The name that the import binds."""
        return self.alias or self.name or self.module.split(".")[0]


@dataclass
class Parsed:
    """One parsed file: its definitions, calls, imports, and how often each identifier is used."""

    path: str
    module: ast.Module
    definitions: list[Definition] = field(default_factory=list)
    calls: list[CallUse] = field(default_factory=list)
    imports: list[ImportUse] = field(default_factory=list)
    uses: dict[str, list[int]] = field(default_factory=dict)
    exported: list[str] | None = None

    def use(self, name: str, line: int) -> None:
        """Count one use of an identifier that is not its definition."""
        self.uses.setdefault(name, []).append(line)


@lru_cache(maxsize=4096)
def parse_file(path: str, text: str) -> Parsed | None:
    """Parse one file; None where its syntax is wrong."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = syntax.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    parsed = Parsed(path, module)
    _Collector(parsed).visit(module)
    return parsed


class _Collector(ast.NodeVisitor):
    """Walks a file once and fills a `Parsed`."""

    def __init__(self, parsed: Parsed) -> None:
        self._parsed = parsed
        self._scope: list[str] = []
        self._depth = 0

    def _define(self, name: str, kind: Kind, node: ast.stmt) -> None:
        qualname = ".".join((*self._scope, name))
        first = min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", []))])
        end = node.end_lineno or node.lineno
        self._parsed.definitions.append(
            Definition(self._parsed.path, qualname, kind, node, first, end)
        )

    def _function(self, node: FunctionNode) -> None:
        self._define(node.name, "function", node)
        self._scope += [node.name, "<locals>"]
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1
        del self._scope[-2:]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """A function or method."""
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        """A coroutine."""
        self._function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """A class."""
        self._define(node.name, "class", node)
        self._scope.append(node.name)
        self.generic_visit(node)
        self._scope.pop()

    def _assigned(self, target: ast.expr, node: ast.stmt) -> None:
        if isinstance(target, ast.Name) and self._depth == 0:
            self._define(target.id, "assignment", node)
        elif isinstance(target, ast.Tuple | ast.List):
            for item in target.elts:
                self._assigned(item, node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """An assignment in a module or class binds names."""
        for target in node.targets:
            self._assigned(target, node)
            if isinstance(target, ast.Name) and target.id == "__all__" and not self._scope:
                self._parsed.exported = _strings(node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """As an assignment."""
        self._assigned(node.target, node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """A call."""
        name = _last_name(node.func)
        if name:
            self._parsed.calls.append(
                CallUse(
                    self._parsed.path,
                    node.lineno,
                    node.end_lineno or node.lineno,
                    name,
                    tuple(item.arg for item in node.keywords if item.arg),
                    len(node.args),
                    any(isinstance(item, ast.Starred) for item in node.args)
                    or any(item.arg is None for item in node.keywords),
                    node,
                )
            )
        for keyword in node.keywords:
            if keyword.arg:
                self._parsed.use(keyword.arg, node.lineno)
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        """`import a.b as c`."""
        for item in node.names:
            use = ImportUse(
                self._parsed.path, node.lineno, item.name, "", item.asname or "", 0, not self._scope
            )
            self._parsed.imports.append(use)
            if not self._scope:
                self._define(use.bound, "import", node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """`from a import b as c`."""
        for item in node.names:
            use = ImportUse(
                self._parsed.path,
                node.lineno,
                node.module or "",
                item.name,
                item.asname or "",
                node.level,
                not self._scope,
            )
            self._parsed.imports.append(use)
            self._parsed.use(item.name, node.lineno)
            if not self._scope:
                self._define(use.bound, "import", node)

    def visit_Name(self, node: ast.Name) -> None:
        """A name that is read."""
        if isinstance(node.ctx, ast.Load):
            self._parsed.use(node.id, node.lineno)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """An attribute, read or written."""
        self._parsed.use(node.attr, node.lineno)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """A string that is an identifier may be a use (`getattr`, `__all__`, a forward type)."""
        if isinstance(node.value, str) and node.value.isidentifier():
            self._parsed.use(node.value, node.lineno)


def _strings(node: ast.expr) -> list[str] | None:
    if isinstance(node, ast.List | ast.Tuple):
        values = [item.value for item in node.elts if isinstance(item, ast.Constant)]
        return [value for value in values if isinstance(value, str)]
    return None


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""
