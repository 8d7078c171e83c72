"""A class is made with arguments that it does not take: a field or its constructor is missing.

A data class has lost the field, or its default; a class is no data class any more; an `__init__`
has a misspelt name. All of it waits for a person.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from homeostat.repair.case import Candidate, Case, DefectClass
from homeostat.repair.codemods.definitions import rename_definition
from homeostat.repair.codemods.functions import parses
from homeostat.repair.codemods.imports import Import, add_import
from homeostat.repair.evidence import similarity
from homeostat.repair.index import Definition
from homeostat.repair.parameter_members import members_of
from homeostat.repair.strategies.dropped_default import LITERALS, field_guesses
from homeostat.repair.symptom import Kind, Symptom

_LIKE_INIT = 0.7
_MOST_GUESSES = 4


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield classes that take what their callers give."""
    for symptom in case.symptoms:
        if symptom.kind is Kind.MISSING_ARGUMENT:
            yield from _defaults(case, symptom)
        if symptom.kind not in {Kind.UNEXPECTED_KEYWORD, Kind.SURPLUS_ARGUMENT}:
            continue
        for item in _classes(case, symptom):
            if not isinstance(item.node, ast.ClassDef):
                continue
            if symptom.kind is Kind.UNEXPECTED_KEYWORD and _is_data_class(item.node):
                yield from _renamed_field(case, item, item.node, symptom.name)
                yield from _field(case, item, item.node, symptom.name)
            elif symptom.name == "no" or not _has_init(item.node):
                yield from _misspelt(case, item, item.node)
                yield from _undecorated(case, item, item.node)


def _defaults(case: Case, symptom: Symptom) -> Iterator[Candidate]:
    """Give a field of a data class, which its makers leave out, a default of its type."""
    for item in _classes(case, symptom) or _around(case, symptom):
        node = item.node
        if not isinstance(node, ast.ClassDef) or not _is_data_class(node):
            continue
        bare = [one for one in _fields(node) if ast.unparse(one.target) in symptom.names]
        bare = [one for one in bare if one.value is None]
        kinds = [ast.unparse(one.annotation).strip("'\"") for one in bare]
        guesses = [field_guesses(kind) or members_of(case, item.path, kind) for kind in kinds]
        for rank in range(min(_MOST_GUESSES, max((len(one) for one in guesses), default=0))):
            lines = case.tree.text(item.path).splitlines(keepends=True)
            told = []
            for one, values in zip(bare, guesses, strict=True):
                if not values:
                    return
                value = values[min(rank, len(values) - 1)]
                at = (one.end_lineno or one.lineno) - 1
                end = one.end_col_offset or 0
                raw = lines[at].encode()
                lines[at] = (raw[:end] + f" = {value}".encode() + raw[end:]).decode()
                told.append(f"{ast.unparse(one.target)}={value}")
            text = "".join(lines)
            if "field(" in "".join(told) and "field" not in case.index.top_level(item.path):
                text = add_import(text, Import("dataclasses", "field"))
            title = f"Give fields of {item.qualname} a default: {', '.join(told)}."
            yield from _candidate(item, text, title, 0.6 - 0.05 * rank)


def _around(case: Case, symptom: Symptom) -> list[Definition]:
    """Return the class that is being made where its fields are in an order that cannot be."""
    frames = [frame for frame in symptom.fault.own_frames if frame.path]
    parsed = case.index.parsed(frames[-1].path or "") if frames else None
    return [
        item
        for item in (parsed.definitions if parsed else ())
        if item.kind == "class" and item.line <= frames[-1].line <= item.end_line
    ]


def _classes(case: Case, symptom: Symptom) -> list[Definition]:
    """Return our own classes that the message or the running program named."""
    name = symptom.subject.removesuffix(".__init__").rsplit(".", 1)[-1]
    found = case.index.definitions(name, ("class",)) if name else []
    return found if len(found) == 1 else []


def _is_data_class(node: ast.ClassDef) -> bool:
    decorators = {ast.unparse(item).partition("(")[0] for item in node.decorator_list}
    return bool(decorators & {"dataclass", "dataclasses.dataclass"}) and not _has_init(node)


def _has_init(node: ast.ClassDef) -> bool:
    return any(isinstance(item, ast.FunctionDef) and item.name == "__init__" for item in node.body)


def _fields(node: ast.ClassDef) -> list[ast.AnnAssign]:
    return [
        item
        for item in node.body
        if isinstance(item, ast.AnnAssign) and "ClassVar" not in ast.unparse(item.annotation)
    ]


def _field(case: Case, item: Definition, node: ast.ClassDef, name: str) -> Iterator[Candidate]:
    """Add a field with a None default after the last one, typed as callers' literals are."""
    fields = _fields(node)
    if not fields:
        return
    kinds = {
        type(keyword.value.value).__name__
        for call in case.index.calls(item.name)
        for keyword in call.node.keywords
        if keyword.arg == name and isinstance(keyword.value, ast.Constant)
    } & set(LITERALS)
    kind = f"{kinds.pop()} | None" if len(kinds) == 1 else "object | None"
    lines = case.tree.text(item.path).splitlines(keepends=True)
    last = fields[-1]
    indent = " " * last.col_offset
    lines.insert(last.end_lineno or last.lineno, f"{indent}{name}: {kind} = None\n")
    yield from _candidate(
        item, "".join(lines), f"Add the field {name}: {kind} = None to {item.qualname}.", 0.6
    )


def _renamed_field(
    case: Case, item: Definition, node: ast.ClassDef, wanted: str
) -> Iterator[Candidate]:
    """Give a field that no maker gives the wanted name; the likeliest one nobody else asks for."""
    names = [ast.unparse(one.target) for one in _fields(node)]
    calls = [call for call in case.index.calls(item.name) if wanted in call.keywords]
    by_place = max((call.positional for call in calls), default=0)
    for name in [] if wanted in names else names[by_place:]:
        given = any(name in call.keywords for call in case.index.calls(item.name))
        if given:
            continue
        elsewhere = any(path != item.path for path, _ in case.index.uses(name))
        text = rename_definition(case.tree.text(item.path), f"{item.qualname}.{name}", wanted)
        if text is not None:
            title = f"Rename the field {name} of {item.qualname} back to {wanted}."
            alike = similarity(name, wanted)
            # A new field beside one that nobody gives any more would be its double.
            score = 0.65 + 0.3 * alike - 0.3 * elsewhere
            yield from _candidate(item, text, title, score, atomic=True)


def _misspelt(case: Case, item: Definition, node: ast.ClassDef) -> Iterator[Candidate]:
    for method in node.body:
        if (
            isinstance(method, ast.FunctionDef)
            and not _has_init(node)
            and similarity(method.name, "__init__") >= _LIKE_INIT
        ):
            text = rename_definition(
                case.tree.text(item.path), f"{item.qualname}.{method.name}", "__init__"
            )
            if text is not None:
                title = f"Rename {item.qualname}.{method.name} to __init__, its constructor."
                yield from _candidate(item, text, title, 0.7)


def _undecorated(case: Case, item: Definition, node: ast.ClassDef) -> Iterator[Candidate]:
    """Make a class of bare fields the data class that its callers take it for."""
    if not _fields(node) or _has_init(node) or node.bases or _is_data_class(node):
        return
    lines = case.tree.text(item.path).splitlines(keepends=True)
    lines.insert(item.line - 1, " " * node.col_offset + "@dataclass\n")
    text = "".join(lines)
    if "dataclass" not in case.index.top_level(item.path):
        text = add_import(text, Import("dataclasses", "dataclass"))
    yield from _candidate(item, text, f"Make {item.qualname} a data class again.", 0.65)


def _candidate(
    item: Definition, text: str, title: str, score: float, *, atomic: bool = False
) -> Iterator[Candidate]:
    if parses(text):
        yield Candidate(
            strategy="constructor_mismatch",
            defect=DefectClass.CONSTRUCTOR_MISMATCH,
            title=title,
            changes={item.path: text},
            score=score,
            waits_because="what the constructor should take is inferred from its callers",
            parameters={"path": item.path, "class": item.qualname},
            atomic=atomic,
        )
