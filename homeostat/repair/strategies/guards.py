"""Guards: None where a value is needed, a missing key, a length. Proposals; a person decides."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from homeostat.repair.case import Candidate, Case, DefectClass
from homeostat.repair.codemods.functions import parses
from homeostat.repair.evidence import all_arguments, is_test
from homeostat.repair.symptom import Kind, Symptom

_ONLY_A_PROPOSAL = "a guard changes what the function means, so a person decides"


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield a guard at the failing statement."""
    for symptom in case.symptoms:
        frame = symptom.frame
        if frame is None or frame.path is None or is_test(frame.path):
            continue
        if symptom.kind is Kind.MISSING_KEY:
            yield from _missing_key(case, symptom, frame.path, frame.line)
        elif symptom.kind is Kind.NONE_VALUE:
            yield from _none(case, frame.path, frame.line)
        elif symptom.kind is Kind.LENGTH:
            yield from _length(case, symptom, frame.path, frame.line)


def _missing_key(case: Case, symptom: Symptom, path: str, line: int) -> Iterator[Candidate]:
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
    for node in (exact or wanted)[:2]:
        text = _spliced(
            case.tree.text(path), node, f"{_source(case, path, node.value)}.get("
            f"{_source(case, path, node.slice)})",
        )  # fmt: skip
        if text is not None and parses(text):
            yield Candidate(
                strategy="guards",
                defect=DefectClass.MISSING_KEY,
                title=f"Read the key {symptom.name} in {path} with get().",
                changes={path: text},
                score=0.4,
                waits_because=_ONLY_A_PROPOSAL,
                parameters={"path": path, "key": symptom.name},
            )


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


def _none(case: Case, path: str, line: int) -> Iterator[Candidate]:
    """Guard each parameter with a None default that the failing line uses, before that line."""
    around = case.index.enclosing(path, line)
    parsed = case.index.parsed(path)
    if around is None or around.function is None or parsed is None:
        return
    statement = _statement(around.function, line)
    if statement is None:
        return
    read = {
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    parameters = {item.arg for item in all_arguments(around.function.args)} - {"self", "cls"}
    for name in sorted(read & parameters) or sorted(read)[:3]:
        lines = case.tree.text(path).splitlines(keepends=True)
        indent = " " * statement.col_offset
        lines.insert(statement.lineno - 1, f"{indent}if {name} is None:\n{indent}    return None\n")
        text = "".join(lines)
        if parses(text):
            yield Candidate(
                strategy="guards",
                defect=DefectClass.MISSING_NONE_GUARD,
                title=f"Return None from {around.qualname} where {name} is None.",
                changes={path: text},
                score=0.3,
                waits_because=_ONLY_A_PROPOSAL,
                parameters={"path": path, "function": around.qualname, "name": name},
            )


def _length(case: Case, symptom: Symptom, path: str, line: int) -> Iterator[Candidate]:
    """Take what is too much into `*_`; return None where a sequence is too short to be read."""
    around = case.index.enclosing(path, line)
    statement = _statement(around.function, line) if around and around.function else None
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


def _statement(function: ast.AST, line: int) -> ast.stmt | None:
    """Return the innermost simple statement at a line."""
    found = [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.stmt)
        and node is not function
        and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    return max(found, key=lambda node: node.lineno, default=None)
