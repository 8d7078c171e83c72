"""One failure in the words of Python 3.11, 3.12 and 3.13, brought back to one wording.

The interpreter and its library reword messages, rename types and inline functions from one version
to the next; none of that is another cause. Each rule was found by raising the same failure under
all three. What cannot be brought back is named in docs/incidents.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from homeostat.incidents.raised import Raised

#: Types by their newer names → the name that the oldest supported version knows.
_RENAMED = {"re.PatternError": "re.error"}

#: Lines; a longer statement is told as it comes.
LONGEST_ASSERT = 50
_ASSERT = re.compile(r"\s*assert\b")

#: PEP 709 (Python 3.12) inlined these; what is defined in one is named without it since then.
_INLINED = re.compile(r"<(?:list|dict|set)comp>\.")

#: The interpreter's own remarks behind a message; they come and go with its version.
_REMARKS = re.compile(
    r"[.:]? Did you (?:mean|forget)[^\n]*|\(consider renaming [^)]*\)|\(most likely due to [^)]*\)"
    r"| and no __dict__ for setting new attributes"
    r"| OR one path is relative and the other is absolute\.?$",
)

_REWORDED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^('[^']*') is an invalid keyword argument for (\w+)\(\)",
         r"\2() got an unexpected keyword argument \1"),
        (r"^Illegal trailing comma before end of object",
         "Expecting property name enclosed in double quotes"),
        (r"^Illegal trailing comma before end of array", "Expecting value"),
        (r"^(min|max)\(\) arg is an empty sequence$", r"\1() iterable argument is empty"),
        (r"^Can't get local object ", "Can't pickle local object "),
        (r"^Missing required argument 'digestmod'", "Missing required parameter 'digestmod'"),
        (r"\bC _PyTime_t\b", "C PyTime_t"),
        (r"^argument should be a str or an os\.PathLike object where __fspath__ .*, not '(\w+)'$",
         r"expected str, bytes or os.PathLike object, not \1"),
        # Python 3.13 names some types in full, `'shop.<locals>.Order' object`.
        (r"^'[\w.<>]+\.(\w+)' object has no attribute", r"'\1' object has no attribute"),
    )
)  # fmt: skip
#: Which method is missing is told in other words, and without quotes before Python 3.12.
_ABSTRACT = re.compile(
    r"^(Can't instantiate abstract class [\w.<>]+ )"
    r"(?:without an implementation for|with) abstract methods? (.+)$"
)
_WORD, _QUOTED = re.compile(r"'?(\w+)'?"), r"'\1'"


def type_of(name: str) -> str:
    """Return an exception type's name as the oldest supported version has it."""
    return _RENAMED.get(name, name)


def function_of(qualified: str) -> str:
    """Return a qualified function name without `<locals>` and the comprehensions around it."""
    return _INLINED.sub("", qualified.replace(".<locals>", ""))


def wording_of(raised: Raised) -> str:
    """Return a message in one version's words, without the interpreter's remarks."""
    text = _REMARKS.sub("", raised.message)
    abstract = _ABSTRACT.match(text)
    if abstract:
        return f"{abstract[1]}with abstract method {_WORD.sub(_QUOTED, abstract[2])}"
    if raised.type == "AttributeError" and text.isidentifier():
        return _without_member(raised, text)
    for pattern, replacement in _REWORDED:
        text = pattern.sub(replacement, text)
    return text


def _without_member(raised: Raised, name: str) -> str:
    """Return what newer Pythons say of an unknown enum member; Python 3.11 says its name only."""
    if not raised.frames or raised.frames[-1].module != "enum":
        return name
    line = next((frame.context for frame in reversed(raised.frames) if frame.in_app), "")
    owner = re.search(rf"(\w+)\.{name}\b", line)
    return f"type object '{owner[1]}' has no attribute '{name}'" if owner else name


def assert_line(lines: Sequence[str], number: int) -> int:
    """Return the line at which the `assert` begins that line `number` is part of, if it is of one.

    Python 3.12 names this line for an assert over several, the others that of what was not true.
    """
    for first in range(number, max(0, number - LONGEST_ASSERT), -1):
        if _ASSERT.match(lines[first - 1]):
            open_brackets = 0
            for line in lines[first - 1 : number - 1]:
                open_brackets += sum(map(line.count, "([{")) - sum(map(line.count, ")]}"))
                if open_brackets < 1:
                    return number
            return first
    return number
