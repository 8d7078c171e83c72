"""What can be read in the library: pages and runbooks of the tree, and its code's docstrings."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
                yield _page(path, kind, f"{kind}:{prefix}{path.relative_to(folder)}")
    for package in PACKAGES:
        for path in sorted((house / package).rglob("*.py")):
            yield from docstrings(path, ".".join(path.relative_to(house).with_suffix("").parts))


def _page(path: Path, kind: str, source: str) -> Text:
    body = path.read_text(encoding="utf-8", errors="replace")[:LONGEST_TEXT]
    heading = next((line.lstrip("# ") for line in body.splitlines() if line.startswith("#")), "")
    return Text(kind, source, heading or path.stem, body)


def docstrings(path: Path, module: str) -> list[Text]:
    """Return the documented names of one module; a file that does not parse has none."""
    module = module.removesuffix(".__init__")
    try:
        tree = ast.parse(path.read_bytes())
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
