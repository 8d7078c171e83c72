"""What can be read in the library: pages and runbooks of the tree, and its code's docstrings.

A page is read section by section. As one text its few words on a question drown in all the
others: of ten questions that the pages answer, none found its page among the docstrings.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from homeostat import syntax

#: The root of the source tree that this process runs from, or of the installed packages.
HOUSE = Path(__file__).parents[2]
#: Packages whose docstrings are read.
PACKAGES = ("homeostat", "workers", "tasks")
#: A longer text is cut: nobody finds a sentence in the middle of it, and tsvector has its limits.
LONGEST_TEXT = 100_000
#: Pages that a person would call documentation.
_PAGES = ("*.md", "*.rst", "*.txt")
#: Folders of the user that are watched besides the tree, inside the state folder.
RUNBOOKS = "runbooks"
_SECTION, _NO_WORD = re.compile(r"^## +(.+)$", re.MULTILINE), re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Text:
    """One readable thing before it is indexed."""

    kind: str
    source: str
    title: str
    body: str

    @property
    def digest(self) -> str:
        """SHA-256 over title and body, by which a change is seen."""
        return hashlib.sha256(f"{self.title}\0{self.body}".encode()).hexdigest()


def texts(house: Path, runbooks: Path) -> Iterator[Text]:
    """Yield every page and runbook, and every documented module, class and function."""
    for folder, kind, prefix in ((house / "docs", "page", "docs/"), (runbooks, "runbook", "")):
        for pattern in _PAGES:
            for path in sorted(folder.rglob(pattern)):
                text = path.read_text(encoding="utf-8", errors="replace")
                yield from sections(text, kind, f"{kind}:{prefix}{path.relative_to(folder)}")
    for package in PACKAGES:
        for path in sorted((house / package).rglob("*.py")):
            yield from docstrings(path, ".".join(path.relative_to(house).with_suffix("").parts))


def sections(text: str, kind: str, source: str) -> list[Text]:
    """Return a page's sections: what stands before the first `## ` heading, and under each.

    The first has the page's own source, the others `source#heading`.
    """
    before, *rest = _SECTION.split(text)
    titles = (line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    page = next(titles, Path(source.partition(":")[2]).stem)
    found = {source: Text(kind, source, page, before[:LONGEST_TEXT])}
    for heading, body in zip(rest[::2], rest[1::2], strict=True):
        place = f"{source}#{_NO_WORD.sub('-', heading.lower()).strip('-')}"[:250]
        while place in found:
            place += "-"
        found[place] = Text(kind, place, f"{page}: {heading}", body[:LONGEST_TEXT])
    return list(found.values())


def docstrings(path: Path, module: str) -> list[Text]:
    """Return the documented names of one module; a file that does not parse has none."""
    module = module.removesuffix(".__init__")
    try:
        tree = syntax.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return []
    found = []
    stack: list[tuple[str, ast.AST]] = [(module, tree)]
    while stack:
        name, node = stack.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if body := ast.get_docstring(node):
                found.append(Text("docstring", f"docstring:{name}", name, body[:LONGEST_TEXT]))
            stack += [
                (f"{name}.{child.name}", child)
                for child in node.body
                if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            ]
    return found
