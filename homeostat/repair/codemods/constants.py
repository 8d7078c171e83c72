"""Constants that stand where a parameter was read: the trace of one that was taken out.

Nobody writes `if not False:`; whoever drops a parameter and writes its default in its place does.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from homeostat.repair.index import FunctionNode

#: So many places of a constant, none of them odd, are still worth a try.
_MOST_PLAIN = 3


@dataclass(frozen=True)
class Trace:
    """The places of one constant in a function; `score` says how odd it is that it stands there.

    It is `certain` where each place of that constant in the function is one at which nobody
    writes a constant: a condition, or the parameter's own name in a call or an attribute.
    """

    value: str
    nodes: tuple[ast.Constant, ...]
    score: float
    words: str
    certain: bool = False
    together: bool = False
    """Whether one odd place speaks for the others, so that none need be needed by itself."""


def traces_of(function: FunctionNode, name: str, given: set[type]) -> list[Trace]:
    """Return where a dropped parameter `name` may have been read, oddest places first.

    `given` are the types of the values that callers give; None stands for any of them.
    """
    every: dict[str, list[ast.Constant]] = {}
    for node in _constants(function):
        if node.value is None or not given or type(node.value) in given:
            every.setdefault(ast.unparse(node), []).append(node)
    conditions = {id(node) for node in _conditions(function)}
    certain = {id(node) for node in _never_written(function, name)}
    keywords = {
        id(item.value)
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        for item in node.keywords
        if item.arg and (item.arg == name or name in item.arg.split("_"))
    }
    keywords |= {
        id(node.value)
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        and ast.unparse(node.targets[0]).rpartition(".")[2].strip("_") == name.strip("_")
    }
    passed = {
        id(item) for node in ast.walk(function) if isinstance(node, ast.Call) for item in node.args
    }
    found = []
    for value, nodes in every.items():
        sure = [node for node in nodes if id(node) in conditions | keywords]
        likely = [node for node in nodes if id(node) in conditions | keywords | passed]
        if sure and len(sure) < len(likely) < len(nodes):
            # Who reads a parameter in a condition also hands it on; that it is the default by
            # chance at such a place changes nothing for who leaves it out.
            found.append(
                Trace(
                    value,
                    tuple(likely),
                    0.88,
                    "where a constant is odd or handed on",
                    together=True,
                )
            )
        if sure and len(sure) < len(nodes):
            found.append(Trace(value, tuple(sure), 0.85, "where a constant is odd", together=True))
        if sure:
            whole = 0.87 if len(likely) == len(nodes) else 0.8
            every_one = all(id(node) in certain for node in nodes)
            found.append(
                Trace(value, tuple(nodes), whole, f"at each {value}", every_one, together=True)
            )
        elif len(nodes) <= _MOST_PLAIN:
            found.append(Trace(value, tuple(nodes), 0.4 / len(nodes), f"at each {value}"))
            if 0 < len(likely) < len(nodes):
                found.append(Trace(value, tuple(likely), 0.3, f"where {value} is handed on"))
    return sorted(found, key=lambda item: -item.score)


def _constants(function: FunctionNode) -> Iterator[ast.Constant]:
    """Yield the constants of a body that a name could replace: no docstring, nothing in a text."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.JoinedStr):
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.Constant):
            yield node
        waiting += ast.iter_child_nodes(node)


def _conditions(function: FunctionNode) -> Iterator[ast.expr]:
    """Yield the constants that decide something: the condition itself, or a side of it."""
    for node in ast.walk(function):
        if isinstance(node, ast.If | ast.IfExp):
            yield from _sides(node.test)
        elif isinstance(node, ast.BoolOp):
            for value in node.values[:-1]:
                yield from _sides(value)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield from _sides(node.operand)
        elif isinstance(node, ast.Compare):
            yield node.left
        elif isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
            yield node.value
        elif isinstance(node, ast.For | ast.AsyncFor):
            yield node.iter
        elif isinstance(node, ast.Call):
            yield node.func


def _never_written(function: FunctionNode, name: str) -> Iterator[ast.expr]:
    """Yield what is decided by itself, and what is given or kept under the parameter's own name."""
    for node in ast.walk(function):
        if isinstance(node, ast.If | ast.IfExp):
            yield from _sides(node.test)
        elif isinstance(node, ast.BoolOp):
            yield from node.values[:-1]
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node.operand
        elif isinstance(node, ast.Call):
            yield from (item.value for item in node.keywords if item.arg == name)
        elif isinstance(node, ast.Assign):
            target = node.targets[0]
            if isinstance(target, ast.Attribute) and target.attr.strip("_") == name.strip("_"):
                yield node.value


def _sides(test: ast.expr) -> Iterator[ast.expr]:
    yield test
    if isinstance(test, ast.BoolOp):
        yield from test.values


def read_instead(source: str, trace: Trace, name: str) -> str:
    """Write `name` in place of the constants of a trace."""
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    for node in sorted(trace.nodes, key=lambda item: (-item.lineno, -item.col_offset)):
        line, end = lines[node.lineno - 1], node.end_col_offset or 0
        if node.end_lineno == node.lineno:
            lines[node.lineno - 1] = line[: node.col_offset] + name.encode() + line[end:]
    return b"".join(lines).decode()
