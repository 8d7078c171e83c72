"""One failure in the words of Python 3.11, 3.12 and 3.13, brought back to one wording.

The interpreter and its library reword messages, rename types and inline functions from one version
to the next; none of that is another cause. Each rule was found by raising the same failure under
all three. What cannot be brought back is named in docs/incidents.md.
"""

from __future__ import annotations

import re

#: Types by their newer names → the name that the oldest supported version knows.
_RENAMED = {"re.PatternError": "re.error"}

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


def wording_of(message: str) -> str:
    """Return a message in one version's words, without the interpreter's remarks."""
    text = _REMARKS.sub("", message)
    abstract = _ABSTRACT.match(text)
    if abstract:
        return f"{abstract[1]}with abstract method {_WORD.sub(_QUOTED, abstract[2])}"
    for pattern, replacement in _REWORDED:
        text = pattern.sub(replacement, text)
    return text
