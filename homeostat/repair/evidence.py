"""Votes for and against a repair: how alike two names are, and what callers and docstrings say."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator

from homeostat.repair.index import CallUse, Definition, Index

#: From this similarity on a rename may be undone without a person (measured: below it, guesses
#: among several parameters went wrong).
SIMILAR = 0.8


def similarity(one: str, other: str) -> float:
    """Return how alike two identifiers are, 0 to 1.

    The share of equal letters (difflib), at least 0.9 where all words of one name stand together
    in the other (`timeout`, `timeout_seconds`), at least 0.85 where one begins or ends with the
    other and that has three letters or more.
    """
    one, other = one.lower(), other.lower()
    ratio = difflib.SequenceMatcher(None, one, other).ratio()
    words, more = sorted((one.strip("_").split("_"), other.strip("_").split("_")), key=len)
    if any(more[at : at + len(words)] == words for at in range(len(more) - len(words) + 1)):
        ratio = max(ratio, 0.9)
    short, long = sorted((one.strip("_"), other.strip("_")), key=len)
    if len(short) >= 3 and (long.startswith(short) or long.endswith(short)):
        ratio = max(ratio, 0.85)
    return ratio


def parameter_names(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Return the names that a caller may give by keyword, in order."""
    return [item.arg for item in (*function.args.args, *function.args.kwonlyargs)]


def names_by_place(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Return the names that a caller may give by place, in order, without the object itself."""
    names = [item.arg for item in (*function.args.posonlyargs, *function.args.args)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def all_arguments(arguments: ast.arguments) -> list[ast.arg]:
    """Return all parameters, star arguments too."""
    stars = [item for item in (arguments.vararg, arguments.kwarg) if item is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *stars]


def defaults(function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, ast.expr]:
    """Return the parameters that have a default."""
    positional = [*function.args.posonlyargs, *function.args.args]
    found = dict(
        zip(
            [item.arg for item in positional][len(positional) - len(function.args.defaults) :],
            function.args.defaults,
            strict=True,
        )
    )
    for item, value in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        if value is not None:
            found[item.arg] = value
    return found


def callable_names(definition: Definition) -> set[str]:
    """Return the last names under which a function is called: `__init__` is called by its class."""
    if definition.name in {"__init__", "__new__"} and definition.owner:
        return {definition.owner.rsplit(".", 1)[-1], definition.name}
    return {definition.name}


def callers(index: Index, definition: Definition) -> Iterator[CallUse]:
    """Yield the calls that may mean this function."""
    for name in callable_names(definition):
        yield from index.calls(name)


def values_given(index: Index, definition: Definition, name: str) -> Iterator[ast.expr]:
    """Yield what callers give for a parameter, by keyword or by place."""
    names = names_by_place(definition.function) if definition.function is not None else []
    for call in callers(index, definition):
        yield from (item.value for item in call.node.keywords if item.arg == name)
        if name in names[: call.positional] and not call.starred:
            yield call.node.args[names.index(name)]


def keyword_votes(index: Index, definition: Definition, keyword: str) -> int:
    """Return how many calls of the function give that keyword."""
    return sum(keyword in call.keywords for call in callers(index, definition))


def docstring(definition: Definition) -> str:
    """Return the function's docstring, empty where it has none."""
    function = definition.function
    return "" if function is None else (ast.get_docstring(function) or "")


def documented(definition: Definition, name: str) -> bool:
    """Whether the docstring speaks of a parameter of that name."""
    text = docstring(definition)
    name = re.escape(name)
    return bool(
        re.search(
            rf"(?m)(:param\s+(?:\w+\s+)?{name}\s*:|^\s*\*{{0,2}}{name}\s*(?:\([^)]*\))?\s*:|``?{name}``?|\*{name}\*)",
            text,
        )
    )


def free_uses(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> int:
    """Return how often a body reads `name`."""
    return sum(
        isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)
        for statement in function.body
        for node in ast.walk(statement)
    )


def is_test(path: str) -> bool:
    """Whether a path belongs to the tests, which no patch may touch."""
    parts = path.split("/")
    name = parts[-1]
    return (
        any(part in {"tests", "test", "testing_suite"} for part in parts[:-1])
        or name.startswith("test_")
        or name.endswith("_test.py")
        or name in {"conftest.py", "tests.py"}
    )
