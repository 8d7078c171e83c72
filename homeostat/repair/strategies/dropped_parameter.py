"""A caller gives an argument that the function no longer takes: the parameter comes back.

It is stored and handed on as its siblings are. To accept it and do nothing with it is the last
resort, and the proof refuses that where siblings are used.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from homeostat import syntax
from homeostat.repair.case import Candidate, Case, DefectClass
from homeostat.repair.codemods.constants import read_instead, traces_of
from homeostat.repair.codemods.functions import NewParameter, add_parameter, parses
from homeostat.repair.codemods.siblings import Sink, carry_on, sinks_of
from homeostat.repair.evidence import callers, documented, free_uses, keyword_votes, parameter_names
from homeostat.repair.index import Definition, FunctionNode
from homeostat.repair.parameter_place import before_which, is_told
from homeostat.repair.strategies.dropped_default import default_guesses
from homeostat.repair.symptom import Kind, Symptom

#: Places that are tried for the use of a parameter whose constant stands in several.
_MOST_TRACES = 6
#: Who leaves the parameter out gets what he gets now; another default than None waits.
_CONSERVATIVE = "a None default that stands where only the parameter can have stood"


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield the parameter added back: used as before, as its siblings, and last without a use."""
    for symptom in case.symptoms:
        if symptom.kind is Kind.UNEXPECTED_KEYWORD:
            callee = case.callee(symptom)
            if callee is not None and callee.function is not None:
                yield from _add_together(case, callee, symptom.name)
                yield from _add(case, callee, symptom.name)
        elif symptom.kind is Kind.SURPLUS_ARGUMENT:
            yield from _surplus(case, symptom)
        elif symptom.kind is Kind.UNDEFINED_NAME:
            yield from _undefined(case, symptom)


def _surplus(case: Case, symptom: Symptom) -> Iterator[Candidate]:
    """A positional argument too many: its name is what the body reads but nobody binds."""
    callee = case.callee(symptom)
    if callee is None or callee.function is None:
        return
    for name in _unbound(case, callee):
        yield from _add(case, callee, name)
    present = parameter_names(callee.function)
    for call in callers(case.index, callee):
        for keyword in call.keywords:
            if keyword not in present:
                yield from _add(case, callee, keyword)


def _undefined(case: Case, symptom: Symptom) -> Iterator[Candidate]:
    """A name that only one function reads, and that its callers give by keyword or it documents."""
    frame = symptom.frame
    if frame is None or frame.path is None:
        return
    callee = case.index.enclosing(frame.path, frame.line)
    if callee is None or callee.function is None:
        return
    if keyword_votes(case.index, callee, symptom.name) or documented(callee, symptom.name):
        yield from _add(case, callee, symptom.name)


def _unbound(case: Case, callee: Definition) -> list[str]:
    return list(
        dict.fromkeys(
            name
            for name, line in case.undefined(callee.path)
            if callee.line <= line <= callee.end_line
        )
    )


def _add_together(case: Case, callee: Definition, name: str) -> Iterator[Candidate]:
    """Python names the first unknown keyword only; a caller may give several, and all come back."""
    function = callee.function
    if function is None or function.args.kwarg is not None:
        return
    known = set(parameter_names(function))
    given = [call.keywords for call in callers(case.index, callee) if name in call.keywords]
    unknown = [name, *(word for words in given for word in words if word not in known)]
    unknown = list(dict.fromkeys(unknown))
    if len(unknown) == 1:
        return
    text, told = case.tree.text(callee.path), []
    for missing in unknown:
        value, confidence, _ = default_guesses(case, callee, missing)[0]
        new = NewParameter(missing, value, _annotation(function, value))
        sink = next(iter(sinks_of(case.index, callee, missing)), None)
        text = add_parameter(text, callee.qualname, new) or ""
        if sink is not None and not free_uses(function, missing):
            text = carry_on(text, callee.qualname, missing, sink) or ""
        elif not free_uses(function, missing):
            return
        told.append((new, sink, confidence))
    if parses(text) and text:
        yield _together(callee, text, told)


def _together(
    callee: Definition, text: str, told: list[tuple[NewParameter, Sink | None, float]]
) -> Candidate:
    names = [new.name for new, _, _ in told]
    uses = [sink.words if sink else "which its body reads already" for _, sink, _ in told]
    used = "; ".join(dict.fromkeys(uses))
    return Candidate(
        strategy="dropped_parameter",
        defect=DefectClass.DROPPED_PARAMETER,
        title=f"Add the parameters {', '.join(names)} to {callee.qualname}: {used}.",
        changes={callee.path: text},
        # Before each of them alone, after which the call would still give an unknown one.
        score=min(1.0, 0.1 + min(sink.score if sink else sure for _, sink, sure in told)),
        waits_because="the parameters' defaults and uses are inferred",
        parameters={
            "path": callee.path,
            "function": callee.qualname,
            "parameters": [new.name for new, _, _ in told],
            "defaults": [new.default for new, _, _ in told],
        },
        traced=tuple((callee.qualname, name) for name in names),
    )


def _add(case: Case, callee: Definition, name: str) -> Iterator[Candidate]:
    function = callee.function
    if function is None or name in [*parameter_names(function)]:
        return
    text = case.tree.text(callee.path)
    if not free_uses(function, name):
        yield from _read_instead(case, callee, name)
    guesses = default_guesses(case, callee, name)
    before = before_which(case.index, callee, name, _reads(function, name))
    for value, confidence, why in guesses[:3]:
        added = add_parameter(
            text,
            callee.qualname,
            NewParameter(name, value, _annotated(case, callee, name, value), before),
        )
        if added is None or not parses(added):
            continue
        if free_uses(function, name):
            yield _candidate(
                callee, name, value, added, "which its body reads already", why, confidence
            )
            continue
        for sink in sinks_of(case.index, callee, name):
            carried = carry_on(added, callee.qualname, name, sink)
            if carried is not None and parses(carried):
                yield _candidate(callee, name, value, carried, sink.words, why, sink.score)
        yield _candidate(callee, name, value, added, "accepted and ignored", why, 0.05)


def _reads(function: FunctionNode, name: str) -> list[ast.AST]:
    return [
        node
        for statement in function.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and node.id == name
    ]


def _read_instead(case: Case, callee: Definition, name: str) -> Iterator[Candidate]:
    """The parameter with a constant of the body as its default, read where that stands."""
    function = callee.function
    if function is None:
        return
    given = {
        type(keyword.value.value)
        for call in callers(case.index, callee)
        for keyword in call.node.keywords
        if keyword.arg == name and isinstance(keyword.value, ast.Constant)
    } - {type(None)}
    guesses = {value: score for value, score, _ in default_guesses(case, callee, name)}
    traces = traces_of(function, name, given)[:_MOST_TRACES]
    only = sum(trace.certain for trace in traces) == 1 and is_told(callee, name)
    for trace in traces:
        text = read_instead(case.tree.text(callee.path), trace, name)
        value = trace.value
        added = parses(text) and add_parameter(
            text,
            callee.qualname,
            NewParameter(
                name,
                value,
                _annotated(case, callee, name, value),
                before_which(case.index, callee, name, trace.nodes),
            ),
        )
        sure = only and trace.certain and value == "None"
        if added:
            score = trace.score + 0.5 * guesses.get(value, 0.0)
            yield _candidate(
                callee, name, value, added, f"read {trace.words}",
                "the body has that constant in its place", score,
                rule=_CONSERVATIVE if sure else "", atomic=trace.together,
            )  # fmt: skip


def _annotated(case: Case, callee: Definition, name: str, value: str) -> str:
    """Return the annotation for a new parameter: its namesakes' in the same file, or a guess."""
    function = callee.function
    guess = _annotation(function, value) if function is not None else ""
    parsed = case.index.parsed(callee.path)
    if not guess or parsed is None:
        return guess
    found = {
        ast.unparse(item.annotation)
        for other in parsed.definitions
        if other.function is not None
        for item in (*other.function.args.args, *other.function.args.kwonlyargs)
        if item.arg == name and item.annotation is not None
    }
    return found.pop() if len(found) == 1 else guess


def _annotation(function: ast.FunctionDef | ast.AsyncFunctionDef, value: str) -> str:
    """Annotate where all siblings are annotated: `str | None` for None, else the value's type."""
    items = [
        item
        for item in (*function.args.args, *function.args.kwonlyargs)
        if item.arg not in {"self", "cls"}
    ]
    if not items or any(item.annotation is None for item in items):
        return ""
    if value == "None":
        kinds = {ast.unparse(item.annotation) for item in items if item.annotation is not None}
        return "str | None" if "str" in kinds else "object | None"
    try:
        return type(syntax.literal(value)).__name__
    except (ValueError, SyntaxError):
        return ""


def _candidate(
    callee: Definition,
    name: str,
    value: str,
    text: str,
    use: str,
    why: str,
    score: float,
    *,
    rule: str = "",
    atomic: bool = False,
) -> Candidate:
    """Return the file with the parameter: what it is used for, and why it has that default."""
    return Candidate(
        strategy="dropped_parameter",
        defect=DefectClass.DROPPED_PARAMETER,
        title=f"Add the parameter {name}={value} to {callee.qualname}: {use} ({why}).",
        changes={callee.path: text},
        score=score,
        rule=rule,
        waits_because="" if rule else "the parameter's default and use are inferred",
        parameters={
            "path": callee.path,
            "function": callee.qualname,
            "parameter": name,
            "default": value,
            "use": use,
        },
        traced=((callee.qualname, name),),
        atomic=atomic,
    )
