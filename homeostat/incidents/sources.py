"""What a printed traceback leaves out, taken from the files where they are here and unchanged.

A text knows paths and bare function names; a live failure knows modules, qualified names and the
file itself. Where every application file of the text is on this machine, and the printed line
still stands at its number, nothing is missing, and the keys are those of the live failure.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from homeostat import syntax
from homeostat.incidents import dialects, origin, unwinding
from homeostat.incidents.failure import Failure
from homeostat.incidents.raised import Frame, Raised

_SCOPES = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.ListComp, ast.SetComp,
    ast.DictComp, ast.GeneratorExp,
)  # fmt: skip
_UNNAMED = {
    ast.Lambda: "<lambda>", ast.ListComp: "<listcomp>", ast.SetComp: "<setcomp>",
    ast.DictComp: "<dictcomp>", ast.GeneratorExp: "<genexpr>",
}  # fmt: skip

#: What the message of a live failure may have otherwise: notes, and how an object is shown.
_UNSURE = re.compile(r"\n| at 0x[0-9a-fA-F]+>")


class _MissingError(Exception):
    """A frame's file is not here, or it is another one by now."""


@dataclass(frozen=True, slots=True)
class Completion:
    """The failure, completed or as it was, and why its keys are what they are."""

    failure: Failure
    reason: str


def complete(failure: Failure) -> Completion:
    """Return the failure as it was seen live, where the files tell; never raises."""
    _read.cache_clear()  # a file may have changed since the last time
    try:
        chain = tuple(_raised(link) for link in failure.chain)
    except _MissingError as missing:
        return Completion(
            failure,
            f"The keys are a text's own, and not those of the live failure: {missing}. A text "
            "knows paths and bare function names only, so modules are named by their paths.",
        )
    seen = (one for link in chain for one in (link, *link.leaves()))
    if not any(frame.in_app for one in seen for frame in one.frames):
        return Completion(failure, "The text shows no frame of the application; no file was read.")
    found = replace(failure, chain=chain, target_hash=unwinding.hash_of_target(chain[0]))
    reason = (
        "Every application file of the text is here and unchanged, so the keys are those of the "
        "live failure."
    )
    if _UNSURE.search(found.message):
        reason += (
            " The replay key may be another, because of the message: a text does not tell notes "
            "from further lines, and shows an object by its own words."
        )
    return Completion(found, reason)


def _raised(raised: Raised) -> Raised:
    frames = tuple(_frame(frame) if frame.in_app else frame for frame in raised.frames)
    return replace(
        raised,
        frames=unwinding.asserted(frames) if raised.type == "AssertionError" else frames,
        members=tuple(map(_raised, raised.members)),
    )


def _frame(frame: Frame) -> Frame:
    path = Path(frame.path).absolute()
    lines, tree = _read(path)
    line = lines[frame.line - 1] if 0 < frame.line <= len(lines) else ""
    if not frame.context or " ".join(line.split()) != frame.context:
        raise _MissingError(f"line {frame.line} of {frame.path} is not what was printed")
    module = _module(path)
    return replace(
        frame,
        module=module,
        function=_qualified(tree, frame.function, frame.line),
        path=str(path),
        in_app=not origin.is_harness(str(path), module),
    )


@lru_cache(maxsize=64)
def _read(path: Path) -> tuple[list[str], ast.Module]:
    try:
        if path.stat().st_size > unwinding.LARGEST_SOURCE:
            raise _MissingError(f"{path} is too large to be read")
        text = path.read_bytes().decode("utf-8", "replace")
        return text.splitlines(), syntax.parse(text)
    except (OSError, ValueError, SyntaxError, RecursionError) as error:
        raise _MissingError(f"{path} is not on this machine, or cannot be read") from error


def _module(path: Path) -> str:
    """Name the module by the packages that it lies in; a script's name is that of its file."""
    top = path.parent
    while (top / "__init__.py").exists() and top != top.parent:
        top = top.parent
    return origin.dotted(str(path.relative_to(top)))


def _qualified(tree: ast.Module, name: str, line: int) -> str:
    """Return the qualified name of the innermost scope of that bare name around the line."""
    bare = name.rsplit(".", 1)[-1]
    found = [path for path in _scopes(tree, (), line) if path[-1] == bare]
    deepest = max(map(len, found), default=0)
    if not found and not bare.startswith(("<module>", "<generic parameters of ")):
        raise _MissingError(f"no function {name} stands around line {line}")
    within = next((".".join(path) for path in found if len(path) == deepest), name)
    return dialects.function_of(within)


def _scopes(node: ast.AST, outer: tuple[str, ...], line: int) -> Iterator[tuple[str, ...]]:
    for child in ast.iter_child_nodes(node):
        first, last = getattr(child, "lineno", None), getattr(child, "end_lineno", None)
        if first is not None and last is not None and not first <= line <= last:
            continue
        inner = outer
        if isinstance(child, _SCOPES):
            inner = (*outer, _UNNAMED.get(type(child)) or str(getattr(child, "name", "")))
            yield inner
        yield from _scopes(child, inner, line)
