"""Two modules import each other before either is ready: one import moves to where it is used."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from homeostat.repair.case import Candidate, Case, DefectClass
from homeostat.repair.codemods.functions import parses
from homeostat.repair.codemods.imports import move_import
from homeostat.repair.failure import Frame
from homeostat.repair.symptom import Kind, Symptom


@dataclass(frozen=True)
class _Edge:
    path: str
    line: int
    names: tuple[str, ...]
    functions: tuple[int, ...]
    already_local: bool


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield each import of the circle that can wait, the likeliest first."""
    for symptom in case.symptoms:
        if symptom.kind is not Kind.CIRCULAR:
            continue
        edges = [edge for frame in _circle(case, symptom) if (edge := _edge(case, frame))]
        for rank, edge in enumerate(sorted(edges, key=_preference)):
            text = move_import(case.tree.text(edge.path), edge.line, edge.names, edge.functions)
            if text is None or not parses(text):
                continue
            clear = [item for item in edges if item.already_local or not item.functions]
            alone = len(edges) == 1 or (len(clear) == 1 and edge is clear[0])
            where = "into the functions that use it" if edge.functions else "to the type checkers"
            yield Candidate(
                strategy="circular_import",
                defect=DefectClass.CIRCULAR_IMPORT,
                title=f"Move the import of {', '.join(edge.names)} in {edge.path} {where}.",
                changes={edge.path: text},
                score=0.9 - 0.1 * rank,
                rule="a unique import of the circle that can wait" if alone else "",
                waits_because="" if alone else f"{len(edges)} imports of the circle can wait",
                parameters={"path": edge.path, "names": list(edge.names), "line": edge.line},
                may_defer_imports=True,
                atomic=True,
            )


def _circle(case: Case, symptom: Symptom) -> list[Frame]:
    """Return the import statements on the way from the half-made module back to itself."""
    frames = [
        frame
        for frame in symptom.fault.own_frames
        if frame.function == "<module>" and frame.path is not None
    ]
    start = case.index.modules.get(symptom.subject)
    places = [position for position, frame in enumerate(frames) if frame.path == start]
    return frames[places[0] :] if places else frames[-2:]


def _preference(edge: _Edge) -> tuple[bool, bool, int]:
    """An import that also stands inside a function was lifted out; then unused ones, then few."""
    return (not edge.already_local, bool(edge.functions), len(edge.functions))


def _edge(case: Case, frame: Frame) -> _Edge | None:
    """Return the statement if nothing needs its names while the module is being made."""
    parsed = case.index.parsed(frame.path or "")
    if parsed is None or frame.path is None:
        return None
    statement = next(
        (
            node
            for node in parsed.module.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            and node.lineno <= frame.line <= (node.end_lineno or node.lineno)
        ),
        None,
    )
    if statement is None or any(item.name == "*" for item in statement.names):
        return None
    names = tuple(item.asname or item.name.split(".")[0] for item in statement.names)
    if parsed.exported and set(names) & set(parsed.exported):
        return None
    functions = _users(parsed.module, set(names))
    if functions is None or _imported_from(case, frame.path, names, statement):
        return None
    local = any(
        not use.top and use.bound in names and use.line != statement.lineno
        for use in parsed.imports
    )
    return _Edge(frame.path, statement.lineno, names, tuple(sorted(functions)), local)


def _users(module: ast.Module, names: set[str]) -> set[int] | None:  # noqa: C901 - one walk
    """Return the first lines of the functions that use the names; None if other code does.

    Annotations do not count where they are not evaluated (`from __future__ import annotations`).
    """
    lazy = any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__"
        and any(item.name == "annotations" for item in node.names)
        for node in module.body
    )  # fmt: skip
    found: set[int] = set()
    ok = True

    def visit(node: ast.AST, function: int | None) -> None:  # noqa: C901 - a case per node
        nonlocal ok
        if isinstance(node, ast.Name) and node.id in names:
            if function is None:
                ok = False
            else:
                found.add(function)
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and function is None:
            for decorator in node.decorator_list:
                visit(decorator, None)
            for value in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
                visit(value, None)
            if not lazy:
                for annotation in _annotations(node):
                    visit(annotation, None)
            for statement in node.body:
                visit(statement, node.lineno)
            return
        if isinstance(node, ast.AnnAssign) and lazy and function is None:
            if node.value is not None:
                visit(node.value, function)
            return
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(module, None)
    return found if ok else None


def _annotations(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += [item for item in (arguments.vararg, arguments.kwarg) if item is not None]
    found = [item.annotation for item in every if item.annotation is not None]
    return [*found, *([node.returns] if node.returns is not None else [])]


def _imported_from(case: Case, path: str, names: tuple[str, ...], statement: ast.stmt) -> bool:
    """Whether others import these names from this module: a re-export has to stay at the top."""
    del statement
    module = case.index.dotted(path)
    return any(
        use.name in names and case.index.absolute(use) == module
        for use in case.index.importers(module)
    )
