"""An index of a tree's definitions and uses, made from `ast` alone: nothing is imported.

It parses only files in whose text the wanted word occurs, so that a look-up costs what the word's
files cost; parsed files are kept for the process, by their content.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import PurePosixPath
from typing import Literal

from homeostat.repair.tree import Tree

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
            module = ast.parse(text)
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


class Index:
    """Look-ups over a tree's Python files."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def parsed(self, path: str) -> Parsed | None:
        """Return the parsed file, None where it is missing or its syntax is wrong."""
        text = self.tree.read(path)
        return None if text is None else parse_file(path, text)

    def files_with(self, word: str) -> Iterator[Parsed]:
        """Parse the files whose text holds `word` as a whole word."""
        pattern = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
        for path in self.tree.python_files:
            text = self.tree.read(path)
            if text is not None and word in text and pattern.search(text):
                parsed = parse_file(path, text)
                if parsed is not None:
                    yield parsed

    def definitions(
        self, name: str, kinds: tuple[Kind, ...] = ("function", "class")
    ) -> list[Definition]:
        """Return what is bound under the last name `name`, by kind."""
        return [
            item
            for parsed in self.files_with(name)
            for item in parsed.definitions
            if item.name == name and item.kind in kinds
        ]

    def in_file(self, path: str, qualname: str) -> list[Definition]:
        """Return the definitions of a qualified name in one file."""
        parsed = self.parsed(path)
        if parsed is None:
            return []
        return [item for item in parsed.definitions if item.qualname == qualname]

    def enclosing(self, path: str, line: int) -> Definition | None:
        """Return the innermost function around a line."""
        parsed = self.parsed(path)
        if parsed is None:
            return None
        around = [
            item
            for item in parsed.definitions
            if item.kind == "function" and item.line <= line <= item.end_line
        ]
        return max(around, key=lambda item: item.line, default=None)

    def calls(self, name: str) -> list[CallUse]:
        """Return all calls of something with that last name."""
        return [
            call for parsed in self.files_with(name) for call in parsed.calls if call.name == name
        ]

    def uses(self, name: str) -> list[tuple[str, int]]:
        """Return (path, line) of each use of an identifier that is not a definition of it."""
        return [
            (parsed.path, line)
            for parsed in self.files_with(name)
            for line in parsed.uses.get(name, ())
        ]

    def imports(self, name: str) -> list[ImportUse]:
        """Return the imports that bind `name`."""
        return [
            use for parsed in self.files_with(name) for use in parsed.imports if use.bound == name
        ]

    def importers(self, module: str) -> list[ImportUse]:
        """Return the imports of `module` itself or from it, relative ones resolved."""
        last = module.rsplit(".", 1)[-1]
        found = []
        for parsed in self.files_with(last):
            for use in parsed.imports:
                full = self.absolute(use)
                if module in {full, f"{full}.{use.name}"}:
                    found.append(use)
        return found

    def absolute(self, use: ImportUse) -> str:
        """Return the absolute dotted name of the module that an import names."""
        if use.level == 0:
            return use.module
        package = self.package_of(use.path)
        parts = package.split(".") if package else []
        base = parts[: len(parts) - (use.level - 1)] if use.level > 1 else parts
        return ".".join([*base, *([use.module] if use.module else [])])

    @cached_property
    def _packages(self) -> frozenset[str]:
        return frozenset(
            str(PurePosixPath(path).parent)
            for path in self.tree.python_files
            if path.endswith("/__init__.py")
        )

    def dotted(self, path: str) -> str:
        """Return the dotted name under which a file is imported.

        It starts at the first folder from the top that is a package or holds sources itself,
        `src` and `lib` left out; so it is right also where an `__init__.py` has been deleted.
        """
        parts = list(PurePosixPath(path).with_suffix("").parts)
        start = 0
        for depth in range(len(parts) - 1):
            folder = "/".join(parts[: depth + 1])
            if folder in self._packages:
                break
            if parts[depth] not in {"src", "lib"} and self._holds_sources(folder):
                break
            start = depth + 1
        names = parts[start:]
        if names and names[-1] == "__init__":
            names = names[:-1]
        return ".".join(names)

    @cached_property
    def _source_folders(self) -> frozenset[str]:
        return frozenset(str(PurePosixPath(path).parent) for path in self.tree.python_files)

    def _holds_sources(self, folder: str) -> bool:
        return folder in self._source_folders

    def package_of(self, path: str) -> str:
        """Return the dotted name of the package that a file's relative imports start from."""
        name = self.dotted(path)
        return name if path.endswith("__init__.py") else name.rpartition(".")[0]

    @cached_property
    def modules(self) -> dict[str, str]:
        """Dotted name → path, of every file; a name given twice keeps the shortest path."""
        found: dict[str, str] = {}
        for path in sorted(self.tree.python_files, key=len, reverse=True):
            found[self.dotted(path)] = path
        return found

    def top_level(self, path: str) -> dict[str, Definition]:
        """Return the names that a module binds at its top level."""
        parsed = self.parsed(path)
        if parsed is None:
            return {}
        return {item.name: item for item in parsed.definitions if "." not in item.qualname}
