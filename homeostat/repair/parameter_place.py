"""Where in a signature a parameter stood that is not there any more.

Callers that give arguments by position depend on it. What is known of the order: the docstring,
other functions with the same parameters, calls that give both by keyword, and the order in which
a body comes to its parameters.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable

from homeostat.repair.evidence import callers, defaults, docstring
from homeostat.repair.index import Definition, FunctionNode, Index

#: A docstring and a namesake's signature are written with the order in mind; the rest may not be.
_TOLD, _SEEN = 2, 1


def with_defaults(function: FunctionNode) -> list[str]:
    """Return the parameters with a default that may be given by position, in order."""
    given = defaults(function)
    return [item.arg for item in function.args.args if item.arg in given]


def before_which(
    index: Index, definition: Definition, name: str, read_at: Iterable[ast.AST]
) -> str:
    """Return the parameter before which `name` goes, empty where it goes to the end.

    `read_at` are the places in the body at which it will be read.
    """
    function = definition.function
    if function is None:
        return ""
    siblings = with_defaults(function)
    votes = _votes(index, definition, function, name, siblings, list(read_at))

    def agreement(place: int) -> int:
        return sum(votes[one] for one in siblings[place:]) - sum(
            votes[one] for one in siblings[:place]
        )

    best = max(range(len(siblings) + 1), key=lambda place: (agreement(place), place))
    return siblings[best] if best < len(siblings) else ""


def is_told(definition: Definition, name: str) -> bool:
    """Whether the place is beyond doubt: no rival, or a docstring that tells the whole order.

    Beside parameters that are given by keyword alone, nothing says of which kind it was.
    """
    function = definition.function
    if function is None or function.args.kwonlyargs or function.args.vararg:
        return False
    siblings = with_defaults(function)
    if not siblings:
        return True
    places = _in_docstring(definition, [*siblings, name])
    told = [place for one in siblings if (place := places.get(one)) is not None]
    return name in places and len(told) == len(siblings) and told == sorted(told)


def _votes(
    index: Index,
    definition: Definition,
    function: FunctionNode,
    name: str,
    siblings: list[str],
    read_at: list[ast.AST],
) -> Counter[str]:
    """Return for each sibling what speaks for `name` standing before it; below 0: after."""
    votes: Counter[str] = Counter()

    def order(words: list[str], weight: int) -> None:
        if name in words:
            for one in set(siblings) & set(words):
                votes[one] += weight if words.index(name) < words.index(one) else -weight

    places = _in_docstring(definition, [*siblings, name])
    order(sorted(places, key=lambda word: places[word]), _TOLD)
    for parsed in index.files_with(name):
        for other in parsed.definitions:
            if other.function is not None and other.node is not function:
                order([item.arg for item in other.function.args.args], _TOLD)
    for call in callers(index, definition):
        order(list(call.keywords), _SEEN)
    order(_as_read(function, name, siblings, read_at), _SEEN)
    return votes


def _in_docstring(definition: Definition, names: list[str]) -> dict[str, int]:
    """Return where a docstring first lists each parameter at the beginning of a line."""
    text = docstring(definition)
    found = {}
    for name in names:
        listed = re.search(
            rf"(?m)^\s*(?::param\s+(?:[\w.\[\]| ]+\s)?|[-*]+\s*)?"
            rf"[`*]*{re.escape(name)}[`*]*\s*(?:\([^)]*\)\s*)?:",
            text,
        )
        if listed:
            found[name] = listed.start()
    return found


def _as_read(
    function: FunctionNode, name: str, siblings: list[str], read_at: list[ast.AST]
) -> list[str]:
    """Return the parameters in the order in which the body first reads them."""
    first: dict[str, tuple[int, int]] = {}
    for statement in function.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and node.id in siblings:
                at = (node.lineno, node.col_offset)
                first[node.id] = min(at, first.get(node.id, at))
    places = [(node.lineno, node.col_offset) for node in read_at if isinstance(node, ast.expr)]
    if places:
        first[name] = min(places)
    return sorted(first, key=lambda word: first[word])
