"""An index of a tree's definitions and uses, made from `ast` alone: nothing is imported.

It parses only files in whose text the wanted word occurs, so that a look-up costs what the word's
files cost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import PurePosixPath

from homeostat.repair.parsed import (
    CallUse,
    Definition,
    FunctionNode,
    ImportUse,
    Kind,
    Parsed,
    parse_file,
)
from homeostat.repair.tree import Tree

__all__ = ["CallUse", "Definition", "FunctionNode", "ImportUse", "Index", "Parsed", "parse_file"]

#: An import from the package itself, or from one above it, by dots alone.
_BY_DOTS = re.compile(r"(?m)^\s*from\s+\.+\s+import\b")


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
        for use in self._naming(last):
            full = self.absolute(use)
            if module in {full, f"{full}.{use.name}"}:
                found.append(use)
        return found

    def _naming(self, word: str) -> Iterator[ImportUse]:
        """Yield the imports of files that hold a module's last name, and those by dots alone."""
        seen = set()
        for parsed in self.files_with(word):
            seen.add(parsed.path)
            yield from parsed.imports
        for path in self._by_dots:
            other = None if path in seen else self.parsed(path)
            for use in other.imports if other else ():
                if use.level and not use.module:
                    yield use

    @cached_property
    def _by_dots(self) -> tuple[str, ...]:
        return tuple(
            path
            for path in self.tree.python_files
            if (text := self.tree.read(path)) is not None and _BY_DOTS.search(text)
        )

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
