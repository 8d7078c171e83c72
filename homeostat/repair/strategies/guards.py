"""Guards: a missing key, a length. Proposals; a person decides."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from homeostat.repair.case import Candidate, Case, DefectClass
from homeostat.repair.codemods.functions import parses
from homeostat.repair.evidence import is_test, parameter_names
from homeostat.repair.parsed import Parsed
from homeostat.repair.strategies.missing_none_guard import innermost_statement
from homeostat.repair.symptom import Kind, Symptom

_ONLY_A_PROPOSAL = "a guard changes what the function means, so a person decides"
#: Functions on the way in which the key may have been read, innermost first.
_MOST_FRAMES = 3
_MOST_SUBSCRIPTS = 3
#: Functions that go through what they are given.
_GO_THROUGH = frozenset({"list", "tuple", "set", "sorted", "len", "sum", "iter", "enumerate"})


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield a guard at the failing statement, and at the calls that led to it."""
    for symptom in case.symptoms:
        places = [
            (frame.path, frame.line)
            for frame in reversed(symptom.fault.own_frames)
            if frame.path is not None
        ][:_MOST_FRAMES]
        for depth, (path, line) in enumerate(places):
            if is_test(path):
                continue
            if symptom.kind is Kind.MISSING_KEY:
                yield from _missing_key(case, symptom, path, line, depth)
            elif symptom.kind is Kind.LENGTH and depth == 0:
                yield from _length(case, symptom, path, line)


def _missing_key(
    case: Case, symptom: Symptom, path: str, line: int, depth: int
) -> Iterator[Candidate]:
    """Read the key with get(): with no default, and with those that others give."""
    parsed = case.index.parsed(path)
    if parsed is None:
        return
    wanted = [
        node
        for node in ast.walk(parsed.module)
        if isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Load)
        and node.lineno <= line <= (node.end_lineno or node.lineno)
        and not isinstance(node.slice, ast.Slice)
    ]
    exact = [
        node
        for node in wanted
        if isinstance(node.slice, ast.Constant) and repr(node.slice.value) == symptom.name
    ]
    for node in (exact or wanted)[:_MOST_SUBSCRIPTS]:
        owner, key = _source(case, path, node.value), _source(case, path, node.slice)
        given = _given_for_it(case, path, line)
        around = case.index.enclosing(path, line)
        asked = _by_use(around.node if around else parsed.module, node)
        defaults = [*given, "", *_defaults(parsed, ast.unparse(node.slice)), *asked]
        for rank, default in enumerate(dict.fromkeys(defaults)):
            words = f"{key}, {default}" if default else key
            text = _spliced(case.tree.text(path), node, f"{owner}.get({words})")
            if text is not None and parses(text):
                yield Candidate(
                    strategy="guards",
                    defect=DefectClass.MISSING_KEY,
                    title=f"Read the key {symptom.name} in {path} with {owner}.get({words}).",
                    changes={path: text},
                    score=0.4 - 0.03 * rank - 0.1 * depth,
                    waits_because=_ONLY_A_PROPOSAL,
                    parameters={"path": path, "key": symptom.name},
                )


def _given_for_it(case: Case, path: str, line: int) -> list[str]:
    """Return the parameters that a function takes for what is not there."""
    around = case.index.enclosing(path, line)
    names = parameter_names(around.function) if around and around.function else []
    return [name for name in names if {"default", "fallback"} & set(name.split("_"))]


def _by_use(scope: ast.AST, read: ast.Subscript) -> list[str]:
    """Return what changes nothing where a value is reckoned with, or gone through: 0, or nothing.

    What a value is assigned to stands for it in the same function.
    """
    names = {
        target.id
        for node in ast.walk(scope)
        if isinstance(node, ast.Assign) and node.value is read
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found: list[str] = []
    for node in ast.walk(scope):
        gone: list[ast.expr] = []
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            gone = [node.iter]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in _GO_THROUGH:
            gone = node.args[:1]
        elif isinstance(node, ast.BinOp):
            found += ["0" for one in (node.left, node.right) if _stands_for(one, read, names)]
        found += ["[]" for one in gone if _stands_for(one, read, names)]
    return list(dict.fromkeys(found))


def _stands_for(node: ast.expr, read: ast.Subscript, names: set[str]) -> bool:
    return node is read or (isinstance(node, ast.Name) and node.id in names)


def _defaults(parsed: Parsed, key: str) -> list[str]:
    """Return the defaults that a file gives to `get`: for this key first, then the commonest."""
    same: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for call in parsed.calls:
        if call.name == "get" and len(call.node.args) == 2:
            kept = same if ast.unparse(call.node.args[0]) == key else others
            kept[ast.unparse(call.node.args[1])] += 1
    found = [value for counts in (same, others) for value, _ in counts.most_common(2)]
    return [value for value in dict.fromkeys(found) if value != "None"]


def _source(case: Case, path: str, node: ast.expr) -> str:
    return ast.get_source_segment(case.tree.text(path), node) or ast.unparse(node)


def _spliced(text: str, node: ast.expr, new: str) -> str | None:
    if node.end_lineno != node.lineno or node.end_col_offset is None:
        return None
    lines = text.splitlines(keepends=True)
    raw = lines[node.lineno - 1].encode()
    raw = raw[: node.col_offset] + new.encode() + raw[node.end_col_offset :]
    lines[node.lineno - 1] = raw.decode()
    return "".join(lines)


def _length(case: Case, symptom: Symptom, path: str, line: int) -> Iterator[Candidate]:
    """Take what is too much into `*_`; return None where a sequence is too short to be read."""
    around = case.index.enclosing(path, line)
    statement = innermost_statement(around.function, line) if around and around.function else None
    if around is None or statement is None:
        return
    text = case.tree.text(path)
    if symptom.name.startswith("too many"):
        for node in ast.walk(statement):
            if not (isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Store)):
                continue
            if any(isinstance(item, ast.Starred) for item in node.elts):
                continue
            names = ", ".join(ast.unparse(item) for item in node.elts)
            new = f"({names}, *_)" if _source(case, path, node)[:1] == "(" else f"{names}, *_"
            yield from _length_guard(
                path, _spliced(text, node, new), f"Take more than {names} in {around.qualname}."
            )
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name | ast.Attribute):
            name = ast.unparse(node.value)
            indent = " " * statement.col_offset
            lines = text.splitlines(keepends=True)
            lines.insert(statement.lineno - 1, f"{indent}if not {name}:\n{indent}    return None\n")
            yield from _length_guard(
                path, "".join(lines), f"Return None from {around.qualname} where {name} is empty."
            )


def _length_guard(path: str, text: str | None, title: str) -> Iterator[Candidate]:
    if text is not None and parses(text):
        yield Candidate(
            strategy="guards",
            defect=DefectClass.LENGTH_MISMATCH,
            title=title,
            changes={path: text},
            score=0.3,
            waits_because=_ONLY_A_PROPOSAL,
            parameters={"path": path},
        )
