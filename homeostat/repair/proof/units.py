"""The parts of a patch that can be taken back one by one, to see that each is needed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from homeostat.repair.line_difference import opcodes
from homeostat.repair.tree import Tree

#: Lines after a deletion among which one with code is looked for.
_FOLLOWING = 40


def new_lines(before: str | None, after: str | None) -> list[int]:
    """Return the numbers of the lines of `after` that are not in `before`."""
    old, new = (before or "").splitlines(), (after or "").splitlines()
    found: list[int] = []
    for tag, _, _, start, end in opcodes(old, new):
        if tag == "delete":
            # A deletion is seen at the code that now follows it.
            found += range(start + 1, min(start + _FOLLOWING, len(new)) + 1)
        elif tag != "equal":
            found += range(start + 1, end + 1)
    return sorted(set(found))


def same_line(before: str | None, after: str | None, line: int) -> int | None:
    """Return the number in `after` of a line of `before`, None where it is not there any more."""
    old, new = (before or "").splitlines(), (after or "").splitlines()
    for tag, first, last, start, _ in opcodes(old, new):
        if tag == "equal" and first < line <= last:
            return line + start - first
    return None


def without_each_hunk(
    tree: Tree, changes: Mapping[str, str | None]
) -> list[tuple[str, dict[str, str | None]]]:
    """Return (name, changes) once for each hunk, with that hunk taken back.

    A file that is new or deleted is one hunk; a deletion and a creation of a file of the same
    patch are a move and are taken back together.
    """
    whole = {
        path: text for path, text in changes.items() if text is None or tree.read(path) is None
    }
    found: list[tuple[str, dict[str, str | None]]] = []
    if whole:
        rest = {path: text for path, text in changes.items() if path not in whole}
        found.append((", ".join(sorted(whole)), rest))
    for path, text in changes.items():
        before = tree.read(path)
        if path in whole or text is None or before is None:
            continue
        for number, reverted in enumerate(_each_reverted(before, text)):
            found.append((f"{path} hunk {number + 1}", {**changes, path: reverted}))
    return found


def _each_reverted(before: str, after: str) -> list[str]:
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    codes = [code for code in opcodes(old, new) if code[0] != "equal"]
    return [
        "".join([*new[:start], *old[first:last], *new[end:]])
        for _, first, last, start, end in codes
    ]


def unified(tree: Tree, changes: Mapping[str, str | None]) -> str:
    """Return the patch as a unified diff."""
    pieces = []
    for path, text in sorted(changes.items()):
        before = tree.read(path)
        lines = difflib.unified_diff(
            (before or "").splitlines(keepends=True),
            (text or "").splitlines(keepends=True),
            f"a/{path}" if before is not None else "/dev/null",
            f"b/{path}" if text is not None else "/dev/null",
        )
        pieces += [line if line.endswith("\n") else line + "\n" for line in lines]
    return "".join(pieces)
