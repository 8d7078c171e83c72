"""What the rest of a project tells of a parameter: callers, namesakes, documentation, custom."""

from __future__ import annotations

import ast
import re
from collections import Counter

from homeostat import syntax
from homeostat.repair.case import Case
from homeostat.repair.evidence import defaults, docstring, is_test, values_given
from homeostat.repair.index import Definition
from homeostat.repair.parameter_use import ALLOWS_NONE, annotation_of

#: So many functions, without an exception, make a project's custom.
CONSENSUS = 3
#: Files beside its own in which a custom is looked for.
_MOST_FILES = 30


def told_default(case: Case, callee: Definition, name: str) -> str:
    """Return the default that the docstring tells, empty where what it says is no value."""
    told = re.search(
        rf"(?is)\b{re.escape(name)}\b[^\n]*(?:\n\s+[^\n]*){{0,3}}?"
        rf"default(?:s to|:| is|=)?\s*`*(?P<quote>['\"]?)(?P<value>[-\w.]+)(?P=quote)",
        docstring(callee),
    )
    if told is None:
        return ""
    value = told["value"].rstrip(".")
    if told["quote"]:
        return repr(value)
    try:
        syntax.literal(value)
    except (ValueError, SyntaxError):
        return value if value in case.index.top_level(callee.path) else ""
    return value


def literals_given(case: Case, callee: Definition, name: str) -> set[object]:
    """Return the literals that callers give for a parameter, by keyword or by position."""
    given = values_given(case.index, callee, name)
    return {value.value for value in given if isinstance(value, ast.Constant)}


def given_by_keyword(case: Case, name: str) -> set[object]:
    """Return the literals that any call gives by a keyword: it may reach the callee by others."""
    return {
        item.value.value
        for parsed in case.index.files_with(name)
        for call in parsed.calls
        for item in call.node.keywords
        if item.arg == name and isinstance(item.value, ast.Constant)
    }


def defaults_of_namesakes(case: Case, callee: Definition, name: str) -> Counter[str]:
    """Return what other functions have for a parameter of that name, and how many of them."""
    found: Counter[str] = Counter()
    for parsed in case.index.files_with(name):
        for item in parsed.definitions:
            if item.function is None or (item.path, item.line) == (callee.path, callee.line):
                continue
            value = defaults(item.function).get(name)
            if isinstance(value, ast.Constant | ast.UnaryOp) or (
                value is not None and item.path == callee.path
            ):
                found[ast.unparse(value)] += 1
    return found


def relatives(case: Case, callee: Definition, name: str) -> list[str]:
    """Return the defaults that methods of the same name give this parameter."""
    found = []
    for item in case.index.definitions(callee.name, ("function",)):
        if item.function is not None and (item.path, item.line) != (callee.path, callee.line):
            value = defaults(item.function).get(name)
            if isinstance(value, ast.Constant):
                found.append(ast.unparse(value))
    return found


def none_is_custom(case: Case, callee: Definition) -> bool:
    """Whether every parameter near by that may be None, and has a default, has None for it."""
    counted: Counter[bool] = Counter()
    folder = callee.path.rpartition("/")[0]
    near = [path for path in case.tree.python_files if path.rpartition("/")[0] == folder]
    for path in dict.fromkeys([callee.path, *near[:_MOST_FILES]]):
        parsed = case.index.parsed(path)
        items = parsed.definitions if parsed and not is_test(path) else ()
        for function in [item.function for item in items if item.function is not None]:
            for name, value in defaults(function).items():
                if ALLOWS_NONE.search(annotation_of(function, name)):
                    counted[ast.unparse(value) == "None"] += 1
    return counted[True] >= CONSENSUS and not counted[False]
