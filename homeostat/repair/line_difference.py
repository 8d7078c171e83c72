"""How two texts differ, line by line: quick where a small patch stands in a large file."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

#: Tag (`equal`, `replace`, `delete`, `insert`), first and end line before, and both after.
Opcode = tuple[str, int, int, int, int]


def opcodes(old: Sequence[str], new: Sequence[str]) -> list[Opcode]:
    """Return what turns `old` into `new`, as difflib tells it, without a look at what is common.

    The lines before the first difference and after the last are not compared again: difflib's
    matcher takes a third of a second for four thousand lines that are the same.
    """
    least = min(len(old), len(new))
    head = next((at for at in range(least) if old[at] != new[at]), least)
    rest = least - head
    tail = next((at for at in range(rest) if old[-1 - at] != new[-1 - at]), rest)
    matcher = difflib.SequenceMatcher(
        None, old[head : len(old) - tail], new[head : len(new) - tail], autojunk=False
    )
    found: list[Opcode] = [("equal", 0, head, 0, head)] if head else []
    found += [
        (tag, first + head, last + head, start + head, end + head)
        for tag, first, last, start, end in matcher.get_opcodes()
    ]
    if tail:
        found.append(("equal", len(old) - tail, len(old), len(new) - tail, len(new)))
    return found
