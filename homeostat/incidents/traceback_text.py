"""Reads tracebacks as Python 3.11 to 3.13 print them: chains, groups, notes and folded recursion.

A text knows no module names, only paths, so modules are named by their place below the deepest
folder that holds all the application's files of the text. What this machine's disk holds does not
matter: the same text gives the same keys everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from homeostat.errors import HomeostatError
from homeostat.incidents import origin
from homeostat.incidents.raised import Frame, Raised
from homeostat.incidents.rendering import clean

#: Python 3.13 colours tracebacks on a terminal (ECMA-48, select graphic rendition).
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_HEADER = re.compile(r"^\s*(?:\+ )?(?:Exception Group )?Traceback \(most recent call last\):\s*$")
_GROUP = "Exception Group"
_PREFIXED = re.compile(
    r"(?P<prefix>.*?)(?:Exception Group )?Traceback \(most recent call last\):\s*$"
)
_FRAME = re.compile(r'^\s*File "(?P<path>[^"]*)", line (?P<line>\d+), in (?P<function>.*\S)\s*$')

_REPEATED = re.compile(r"^\s*\[Previous line repeated (?P<times>\d+) more times?\]$")
_EXCEPTION = re.compile(r"^(?P<type>[A-Za-z_][\w.<>]*)(?:: (?P<message>.*)|:?)$", re.DOTALL)
_CARETS = re.compile(r"^\s*[~^\s]+$")
_FIRST_MEMBER = re.compile(r"^\+-\+-+ \d+ -+$")
_NEXT_MEMBER = re.compile(r"^\+-+ (?:\d+|\.\.\.) -+$")
_MEMBER_END = re.compile(r"^\+-{10,}$")
_DIRECT = "The above exception was the direct cause of the following exception:"
_DURING = "During handling of the above exception, another exception occurred:"
_LOG_LINE = re.compile(r"^\[?\d{4}-\d\d-\d\d[ T]\d\d:\d\d")
_RELATIONS = {_DIRECT: "was the direct cause of", _DURING: "was being handled when"}


class TracebackTextError(HomeostatError):
    """The text holds no Python traceback; give one as Python prints it, or a JSON event."""

    exit_code = 65


@dataclass
class _Block:
    """One exception as printed, before its modules are named."""

    frames: list[tuple[str, int, str, str]] = field(default_factory=list)
    type: str = ""
    message: list[str] = field(default_factory=list)
    relation: str = ""
    members: list[list[_Block]] = field(default_factory=list)
    ended: bool = False


def parse(text: str, app_packages: Collection[str] = ()) -> tuple[Raised, ...]:
    """Return the chain of exceptions in the text, innermost cause first.

    Raises TracebackTextError where the text holds none.
    """
    plain = clean(_COLOURS.sub("", text)).removeprefix("\ufeff")
    blocks = _blocks(_without_prefix(re.split(r"\r\n|\r|\n", plain)))
    if not blocks:
        raise TracebackTextError
    paths = [path for path in _paths(blocks) if origin.is_application(path, "", app_packages)]
    outside = [path for path in paths if origin.below_library_root(path) is None]
    modules = origin.modules_below_common_root(sorted(set(outside)))
    return tuple(_raised(block, modules, app_packages) for block in blocks)


def _without_prefix(lines: list[str]) -> list[str]:
    """Return the lines without what stands before each, as a log or a quotation puts it there.

    Told by the first line of a traceback; the drawing around exception groups is no such prefix.
    """
    headers = [found for line in lines if (found := _PREFIXED.match(line))]
    if not headers or any(not found["prefix"] or _GROUP in found[0] for found in headers):
        return lines
    return [line.removeprefix(headers[0]["prefix"]) for line in lines]


def _paths(blocks: list[_Block]) -> Iterator[str]:
    for block in blocks:
        yield from (path for path, *_ in block.frames)
        for member in block.members:
            yield from _paths(member)


def _blocks(lines: list[str]) -> list[_Block]:
    """Split the lines into one block per exception; members of groups are read recursively."""
    found: list[_Block] = []
    block: _Block | None = None
    position = 0
    while position < len(lines):
        line = lines[position]
        if _HEADER.match(line):
            if found and not found[-1].relation:
                # Another failure: a log holds many, and the newest is the one that is meant.
                found.clear()
            block = _Block()
            found.append(block)
            position = (
                _read_group(lines, position, block) if "Exception Group" in line else position + 1
            )
            if block.type:
                block = None
            continue
        relation = _RELATIONS.get(line.strip())
        if relation:
            if not found or found[-1].relation:
                found += _never_raised(lines, position)
            if found:
                found[-1].relation, block = relation, None
        elif block is not None:
            _take(block, line, lines[position + 1] if position + 1 < len(lines) else "")
        elif not found and (_FRAME.match(line) or _is_bare(lines, position)):
            # A bare `Type: message`, as logs and results often keep nothing else, or a traceback
            # whose first line was not copied along.
            block = _Block()
            found.append(block)
            _take(block, line, lines[position + 1] if position + 1 < len(lines) else "")
        position += 1
    return [one for one in found if one.type]


def _never_raised(lines: list[str], position: int) -> list[_Block]:
    """Read the exception before a relation's line that has no traceback: it was only named."""
    paragraph = ""
    for line in reversed(lines[:position]):
        if line.strip():
            paragraph = line
        elif paragraph:
            break
    block = _Block()
    _take(block, paragraph, "")
    return [block] if block.type else []


def _is_bare(lines: list[str], position: int) -> bool:
    match = _EXCEPTION.match(lines[position].strip())
    if match is None or any(_HEADER.match(line) for line in lines[position:]):
        return False
    name = match["type"].rsplit(".", 1)[-1]
    return name[:1].isupper() and name.endswith(
        ("Error", "Exception", "Warning", "Exit", "Interrupt", "Lost", "Exceeded", "Group")
    )


def _take(block: _Block, line: str, following: str) -> None:
    """Add one line of a traceback to its block."""
    frame = None if block.type else _FRAME.match(line)
    if frame:
        context = "" if _FRAME.match(following) or not following.startswith("    ") else following
        folded = "" if _CARETS.match(context) else " ".join(context.split())
        block.frames.append((frame["path"], int(frame["line"]), frame["function"], folded))
    elif block.type:
        # A blank line, or a log's next line, ends the message.
        block.ended = block.ended or not line.strip() or bool(_LOG_LINE.match(line))
        if not block.ended:
            block.message.append(line)
    elif line[:1] not in {" ", "\t", ""} and not _REPEATED.match(line):
        match = _EXCEPTION.match(line)
        if match and " " not in match["type"]:
            block.type = match["type"]
            block.message = [match["message"] or ""]


def _read_group(lines: list[str], start: int, block: _Block) -> int:
    """Read an exception group, which is drawn with a gutter; return the line behind it.

    The members of a group that is drawn at column g are drawn at column g + 2; only the first is
    set off by a line that begins at g. So groups within groups can be told from their next member.
    """
    gutter = lines[start].index("+ ") if "+ " in lines[start] else 0
    bar, inner_bar = " " * gutter + "| ", " " * (gutter + 2) + "| "
    body: list[str] = []
    members: list[list[str]] = []
    position = start + 1
    while position < len(lines):
        line = lines[position]
        indent = len(line) - len(line.lstrip(" "))
        mark = line.strip()
        if members and indent == gutter + 2 and _MEMBER_END.match(mark):
            position += 1
            break
        if (indent == gutter and _FIRST_MEMBER.match(mark)) or (
            members and indent == gutter + 2 and _NEXT_MEMBER.match(mark)
        ):
            members.append([])
        elif members:
            members[-1].append(_inside(line, inner_bar, gutter + 2))
        elif gutter and not line.startswith(bar.rstrip()):
            break
        else:
            body.append(_inside(line, bar, gutter) if gutter else line)
        position += 1
    for number, line in enumerate(body):
        _take(block, line, body[number + 1] if number + 1 < len(body) else "")
    block.members = [_blocks(member) for member in members]
    return position


def _inside(line: str, bar: str, column: int) -> str:
    if line.startswith(bar):
        return line[len(bar) :]
    return "" if line.rstrip() == bar.rstrip() else line[column:]


def _raised(block: _Block, modules: dict[str, str], app_packages: Collection[str]) -> Raised:
    type_name = block.type.removeprefix("builtins.").removeprefix("__main__.")
    message = "\n".join(block.message).strip()
    if block.members:
        message = re.sub(r"(?:^| )\(\d+ sub-exceptions?\)$", "", message)
    members = [_raised(chain[0], modules, app_packages) for chain in block.members if chain]
    return Raised(
        type=type_name,
        message=message,
        frames=tuple(_frame(*entry, modules, app_packages) for entry in block.frames),
        relation=block.relation,
        members=tuple(members),
    )


def _frame(
    path: str,
    line: int,
    function: str,
    context: str,
    modules: dict[str, str],
    app_packages: Collection[str],
) -> Frame:
    below = origin.below_library_root(path)
    module = modules.get(path) or (origin.dotted(below) if below else path)
    in_app = origin.is_application(path, module, app_packages)
    return Frame(module, function, path, line, context if in_app else "", in_app)
