"""What the target's environment holds, read as files: nothing of it is imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from homeostat.repair.index import Definition, Parsed, parse_file
from homeostat.repair.sandbox import Interpreter

_MOST_FILES = 400
#: Standard modules below a package that offer functions of their own.
_SUBMODULES = ("urllib/parse.py", "urllib/request.py", "xml/sax/saxutils.py", "email/utils.py",
               "collections/abc.py", "importlib/metadata/__init__.py")  # fmt: skip
#: Programs and tests that come with Python, which nobody imports from.
_TOOLS = frozenset({
    "this", "antigravity", "turtle", "pdb", "bdb", "doctest", "profile", "cProfile", "trace",
    "pydoc", "tabnanny", "pyclbr", "timeit", "idlelib", "lib2to3", "distutils", "tkinter", "venv",
    "ensurepip", "turtledemo", "cgi", "smtpd", "site",
})  # fmt: skip


def module_file(interpreter: Interpreter, dotted: str) -> Path | None:
    """Return the source of an installed or standard module, None where there is none."""
    parts = dotted.split(".")
    version = f"python{interpreter.version[0]}.{interpreter.version[1]}"
    for root in (*interpreter.site_packages, interpreter.base_prefix / "lib" / version):
        base = root.joinpath(*parts)
        for path in (base / "__init__.py", base.with_suffix(".py")):
            if path.is_file():
                return path
    return None


@lru_cache(maxsize=1024)
def parsed(path: Path) -> Parsed | None:
    """Parse an installed file."""
    try:
        return parse_file(str(path), path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None


def names_of(interpreter: Interpreter, dotted: str) -> set[str]:
    """Return the names that an installed module binds at its top level, and its submodules."""
    path = module_file(interpreter, dotted)
    found = parsed(path) if path else None
    if path is None or found is None:
        return set()
    names = {item.name for item in found.definitions if "." not in item.qualname}
    if path.name == "__init__.py":
        names |= {item.stem for item in path.parent.glob("*.py")} - {"__init__"}
    return names


def modules_of(interpreter: Interpreter, top: str) -> Iterator[tuple[str, Path]]:
    """Yield (dotted name, path) of the modules of an installed package."""
    start = module_file(interpreter, top)
    if start is None or start.name != "__init__.py":
        return
    root = start.parent
    for count, path in enumerate(sorted(root.rglob("*.py"))):
        if count >= _MOST_FILES or "tests" in path.parts:
            continue
        parts = list(path.relative_to(root.parent).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        yield ".".join(parts), path


def defining(interpreter: Interpreter, top: str, name: str) -> list[str]:
    """Return the modules of a package that define `name` at their top level."""
    pattern = re.compile(
        rf"^(?:def|class|async def)\s+{re.escape(name)}\b|^{re.escape(name)}\s*[:=]", re.MULTILINE
    )
    found = []
    for dotted, path in modules_of(interpreter, top):
        try:
            if pattern.search(path.read_text(encoding="utf-8")):
                found.append(dotted)
        except (OSError, UnicodeDecodeError):
            continue
    return found


def taken_from(interpreter: Interpreter, top: str, name: str) -> list[str]:
    """Return the other packages from which a package's own modules import `name` now."""
    pattern = re.compile(rf"(?m)^from (\w[\w.]*) import [^\n]*\b{re.escape(name)}\b")
    found: list[str] = []
    for _, path in modules_of(interpreter, top):
        try:
            found += pattern.findall(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
    own = [item for item in dict.fromkeys(found) if item.split(".")[0] != top]
    return [item for item in own if module_file(interpreter, item) is not None]


def standard_defining(interpreter: Interpreter, name: str) -> list[str]:
    """Return the public standard modules whose source defines `name` at its top level, by name.

    What is written in C defines nothing that can be read, and is not among them.
    """
    version = f"python{interpreter.version[0]}.{interpreter.version[1]}"
    root = interpreter.base_prefix / "lib" / version
    pattern = re.compile(rf"(?m)^(?:def|class|async def)\s+{re.escape(name)}\b")
    found = []
    for path in (*sorted(root.glob("[a-z]*.py")), *sorted(root.glob("[a-z]*/__init__.py")),
                 *(root / item for item in _SUBMODULES)):  # fmt: skip
        dotted = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        hidden = "__all__" in text and not re.search(rf"[\"']{re.escape(name)}[\"']", text)
        if pattern.search(text) and not hidden and dotted not in _TOOLS:
            found.append(dotted)
    return found


def function_at(file: str, qualname: str) -> Definition | None:
    """Return an installed function's definition."""
    found = parsed(Path(file))
    for item in found.definitions if found else ():
        if item.qualname == qualname and isinstance(
            item.node, ast.FunctionDef | ast.AsyncFunctionDef
        ):
            return item
    return None


def distribution_of(interpreter: Interpreter, top: str) -> tuple[str, str] | None:
    """Return (distribution, version) that installed the top-level module, from its metadata."""
    for site in interpreter.site_packages:
        for info in sorted(site.glob("*.dist-info")):
            record = info / "RECORD"
            if not record.is_file():
                continue
            text = record.read_text(errors="replace")
            if re.search(rf"(?m)^{re.escape(top)}(/__init__)?(\.py|/)", text):
                name, _, version = info.name.removesuffix(".dist-info").rpartition("-")
                return name, version
    return None
