"""What a function itself tells of one of its parameters: its annotation, and what its body does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from homeostat.repair.evidence import all_arguments
from homeostat.repair.index import FunctionNode

#: An annotation by which None may be given.
ALLOWS_NONE = re.compile(r"Optional\[|\bNone\b")
_RECKONING = ast.Add | ast.Sub | ast.Mult | ast.FloorDiv


def compared_by_identity(
    function: ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> Iterator[str]:
    """Yield what the body compares a parameter with by `is`: None, or a sentinel by its name."""
    for node in ast.walk(function):
        if (
            isinstance(node, ast.Compare)
            and isinstance(node.left, ast.Name)
            and node.left.id == name
            and isinstance(node.ops[0], ast.Is | ast.IsNot)
        ):
            other = node.comparators[0]
            if isinstance(other, ast.Constant) and other.value is None:
                yield "None"
            elif isinstance(other, ast.Name):
                yield other.id
            elif isinstance(other, ast.Attribute) and ast.unparse(other.value) in {"self", "cls"}:
                # In the class, where the default is evaluated, the sentinel is a plain name.
                yield other.attr


def stands_for_another(function: FunctionNode, name: str) -> bool:
    """Whether a body puts another value in the place of None, which says that nothing is given."""
    for node in ast.walk(function):
        if not isinstance(node, ast.If | ast.IfExp) or not isinstance(node.test, ast.Compare):
            continue
        test = node.test
        other = test.comparators[0]
        if not _is_name(test.left, name) or ast.dump(other) != "Constant(value=None)":
            continue
        if isinstance(node, ast.IfExp):
            # `x if x is not None else other`, in either order.
            if _is_name(node.body, name) or _is_name(node.orelse, name):
                return True
            continue
        body = node.body if isinstance(test.ops[0], ast.Is) else node.orelse
        assigned = [item for one in body for item in ast.walk(one) if isinstance(item, ast.Assign)]
        if any(_is_name(target, name) for item in assigned for target in item.targets):
            return True
    return False


def by_use(function: FunctionNode, name: str) -> Iterator[tuple[str, float, str]]:
    """Yield what changes nothing where the body reckons or writes with a parameter, or asks it."""
    asked, reads = 0, 0
    for node in ast.walk(function):
        if isinstance(node, ast.BinOp) and _is_name(node.right, name):
            if isinstance(node.op, ast.Mult | ast.Div | ast.FloorDiv | ast.Pow):
                yield "1", 0.36, "it multiplies by nothing"
            elif isinstance(node.op, ast.Add) and _is_text(node.left):
                yield '""', 0.36, "it adds no text"
            elif isinstance(node.op, ast.Add | ast.Sub):
                yield "0", 0.36, "it adds nothing"
        elif isinstance(node, ast.If | ast.IfExp | ast.While):
            asked += _is_asked(node.test, name)
        reads += isinstance(node, ast.Name) and node.id == name
    if reads and asked == reads:
        yield "False", 0.4, "the body only asks whether it holds"
        yield "True", 0.38, "the body only asks whether it holds"


def is_reckoned_with(function: FunctionNode, name: str, methods: Iterable[FunctionNode]) -> bool:
    """Whether a body, or a method of its class where it is kept, adds or multiplies by it."""
    kept = {
        target.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and _is_name(node.value, name)
        for target in node.targets
        if isinstance(target, ast.Attribute)
    }
    sums = (node for one in (function, *methods) for node in ast.walk(one))
    return any(
        _is_name(side, name)
        or (isinstance(side, ast.Attribute) and _is_name(side.value, "self") and side.attr in kept)
        for node in sums
        if isinstance(node, ast.BinOp)
        and isinstance(node.op, _RECKONING)
        and not _is_text(node.left)
        for side in (node.left, node.right)
    )


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _is_asked(test: ast.expr, name: str) -> bool:
    """Whether a condition asks a name whether it holds, by itself or beside others."""
    if isinstance(test, ast.UnaryOp):
        return _is_asked(test.operand, name)
    if isinstance(test, ast.BoolOp):
        return any(_is_asked(item, name) for item in test.values)
    return _is_name(test, name)


def annotation_of(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> str:
    """Return the annotation of a parameter as text, empty where it has none."""
    for item in all_arguments(function.args):
        if item.arg == name and item.annotation is not None:
            return ast.unparse(item.annotation).strip("'\"")
    return ""


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
