"""None arrives where a value is needed: the guard that its siblings have. A person decides.

What the guard does is inferred, likeliest first: what the same name's guards elsewhere in the tree
do, then what the function's own use of the value asks for, then nothing (`return None`).
"""

from __future__ import annotations

import ast
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from homeostat.repair.case import Candidate, Case, DefectClass
from homeostat.repair.codemods.functions import parses
from homeostat.repair.evidence import all_arguments, is_test
from homeostat.repair.index import Definition, FunctionNode
from homeostat.repair.symptom import Kind, Symptom

_ONLY_A_PROPOSAL = "a guard changes what the function means, so a person decides"
#: Functions on the way, innermost first, in which the guard may have stood.
_MOST_FRAMES = 3
_MOST_SUSPECTS = 3
_MOST_BORROWED = 4
#: What stands for nothing, by the methods and calls that a function makes of a value.
_EMPTY_BY_USE: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"append", "extend", "insert", "sort"}), "[]"),
    (frozenset({"items", "get", "keys", "values", "update", "setdefault", "**"}), "{}"),
    (frozenset({"add", "discard", "union", "difference"}), "set()"),
    (frozenset({"split", "strip", "lower", "upper", "encode", "startswith", "join"}), '""'),
    (frozenset({"for", "in", "len", "*", "list", "tuple", "sorted", "set", "iter"}), "()"),
)
_EMPTY_BY_TYPE = {
    "list": "[]", "dict": "{}", "set": "set()", "tuple": "()", "str": '""', "int": "0",
    "float": "0.0", "bool": "False", "Sequence": "()", "Iterable": "()", "Mapping": "{}",
}  # fmt: skip


@dataclass(frozen=True)
class _Place:
    """Where a guard may go: before `line`, at `column`, in a function of a file."""

    path: str
    around: Definition
    function: FunctionNode
    statement: ast.stmt
    depth: int


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield guards before the failing statement, and before the calls that led to it."""
    for symptom in case.symptoms:
        if symptom.kind is not Kind.NONE_VALUE:
            continue
        for place in _places(case, symptom):
            for rank, suspect in enumerate(_suspects(symptom, place)[:_MOST_SUSPECTS]):
                yield from _guards(case, place, suspect, 0.03 * rank + 0.1 * place.depth)


def _places(case: Case, symptom: Symptom) -> Iterator[_Place]:
    frames = [frame for frame in reversed(symptom.fault.own_frames) if frame.path]
    for depth, frame in enumerate(frames[:_MOST_FRAMES]):
        if frame.path is None or is_test(frame.path):
            continue
        around = case.index.enclosing(frame.path, frame.line)
        if around is None or around.function is None:
            continue
        statement = innermost_statement(around.function, frame.line)
        if statement is not None:
            yield _Place(frame.path, around, around.function, statement, depth)


def innermost_statement(function: ast.AST, line: int) -> ast.stmt | None:
    """Return the innermost statement of a function at a line, None where there is none."""
    found = [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.stmt)
        and node is not function
        and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    return max(found, key=lambda node: node.lineno, default=None)


def _suspects(symptom: Symptom, place: _Place) -> list[str]:
    """Return the expressions of the failing statement that may be None, likeliest first."""
    read = [
        node
        for node in ast.walk(place.statement)
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
    ]
    asked = [
        node.value
        for node in read
        if isinstance(node, ast.Attribute) and place.depth == 0 and node.attr == symptom.name
    ]
    parameters = {item.arg for item in all_arguments(place.function.args)} - {"self", "cls"}
    given = [node for node in read if isinstance(node, ast.Name) and node.id in parameters]
    own = [
        node
        for node in read
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"self", "cls"}
    ]
    bound = {
        node.id
        for node in ast.walk(place.function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    others = [node for node in read if isinstance(node, ast.Name) and node.id in bound]
    likely = [node for node in asked if isinstance(node, ast.Name | ast.Attribute)]
    ranked = [*likely, *given, *own, *(others if place.depth == 0 else ())]
    words = dict.fromkeys(ast.unparse(node) for node in ranked)
    return [word for word in words if word not in {"self", "cls"}]


def _guards(case: Case, place: _Place, suspect: str, less: float) -> Iterator[Candidate]:
    """Yield what may be done where the suspect is None."""
    deeds: dict[str, tuple[float, str]] = {}
    for body, score in _borrowed(case, place, suspect):
        deeds.setdefault(body, (score, "as its namesakes are guarded"))
    answers = any(
        isinstance(node, ast.Return) and node.value is not None for node in ast.walk(place.function)
    )
    empty = _empty(place.function, suspect)
    if empty and suspect.isidentifier():
        deeds.setdefault(
            f"{suspect} = {empty}", (0.35 if answers else 0.25, f"{empty} is what its use asks for")
        )
    deeds.setdefault("return None", (0.3, "nothing is to be done without it"))
    for body, (score, why) in deeds.items():
        text = _inserted(case, place, suspect, body)
        if parses(text):
            done = " ".join(body.split())[:80]
            yield Candidate(
                strategy="missing_none_guard",
                defect=DefectClass.MISSING_NONE_GUARD,
                title=f"In {place.around.qualname}, where {suspect} is None: {done} ({why}).",
                changes={place.path: text},
                score=score - less,
                waits_because=_ONLY_A_PROPOSAL,
                parameters={
                    "path": place.path,
                    "function": place.around.qualname,
                    "name": suspect,
                    "guard": body,
                },
            )


def _borrowed(case: Case, place: _Place, suspect: str) -> list[tuple[str, float]]:
    """Return the bodies of `if suspect is None:` in other functions, likeliest first."""
    scores: Counter[str] = Counter()
    best: dict[str, float] = {}
    for parsed in case.index.files_with(suspect.rsplit(".", 1)[-1]):
        if is_test(parsed.path):
            continue
        for item in parsed.definitions:
            if item.function is None or item.node is place.function:
                continue
            for body in _bodies(case, parsed.path, item.function, suspect):
                scores[body] += 1
                near = 0.5 if parsed.path == place.path else 0.4
                near = 0.55 if item.name == place.around.name else near
                best[body] = max(best.get(body, 0.0), near)
    ranked = sorted(scores, key=lambda body: (-best[body], -scores[body]))
    return [(body, best[body] + 0.001 * min(scores[body], 20)) for body in ranked[:_MOST_BORROWED]]


def _bodies(case: Case, path: str, function: FunctionNode, suspect: str) -> Iterator[str]:
    lines = case.tree.text(path).splitlines(keepends=True)
    for node in function.body:
        if (
            isinstance(node, ast.If)
            and not node.orelse
            and ast.unparse(node.test) == f"{suspect} is None"
            and node.body[0].lineno > node.lineno
        ):
            text = "".join(lines[node.body[0].lineno - 1 : node.end_lineno])
            yield textwrap.dedent(text).strip()


def _empty(function: FunctionNode, suspect: str) -> str:
    """Return the literal for nothing that the annotation or the use of a value asks for."""
    for item in all_arguments(function.args):
        if item.arg == suspect and item.annotation is not None:
            words = ast.unparse(item.annotation).replace("Optional[", "").replace("'", "")
            kind = words.split("|")[0].split("[")[0].strip().rsplit(".", 1)[-1]
            if kind.lower() in _EMPTY_BY_TYPE or kind in _EMPTY_BY_TYPE:
                return _EMPTY_BY_TYPE.get(kind) or _EMPTY_BY_TYPE[kind.lower()]
    used = set(_uses(function, suspect))
    return next((empty for words, empty in _EMPTY_BY_USE if used & words), "")


def _uses(function: FunctionNode, suspect: str) -> Iterator[str]:  # noqa: C901 - a case per node
    """Yield the methods, calls and statements that a function uses a value with."""

    def is_it(node: ast.AST | None) -> bool:
        return isinstance(node, ast.expr) and ast.unparse(node) == suspect

    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and is_it(node.value):
            yield node.attr
        elif isinstance(node, ast.For | ast.comprehension) and is_it(node.iter):
            yield "for"
        elif isinstance(node, ast.Starred) and is_it(node.value):
            yield "*"
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            if is_it(node.comparators[0]):
                yield "in"
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and any(is_it(item) for item in node.args):
                yield node.func.id
            if any(item.arg is None and is_it(item.value) for item in node.keywords):
                yield "**"


def _inserted(case: Case, place: _Place, suspect: str, body: str) -> str:
    """Return the file with the guard before the failing statement.

    A parameter or an attribute is guarded at the function's own level, so that it is decided
    once; a local name stands where it was bound.
    """
    given = {item.arg for item in all_arguments(place.function.args)}
    before = place.statement
    if suspect.split(".", maxsplit=1)[0] in given:
        before = next(
            node
            for node in place.function.body
            if node.lineno <= place.statement.lineno <= (node.end_lineno or node.lineno)
        )
    lines = case.tree.text(place.path).splitlines(keepends=True)
    end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    indent = " " * before.col_offset
    inner = textwrap.indent(body, indent + "    ").replace("\r\n", "\n").replace("\n", end)
    lines.insert(before.lineno - 1, f"{indent}if {suspect} is None:{end}{inner}{end}")
    return "".join(lines)
