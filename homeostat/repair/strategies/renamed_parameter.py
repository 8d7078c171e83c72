"""A caller gives a keyword whose parameter has been renamed: the parameter gets its name back."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from homeostat.repair.case import Candidate, Case, DefectClass
from homeostat.repair.codemods.functions import rename_parameter
from homeostat.repair.evidence import (
    SIMILAR,
    callers,
    defaults,
    documented,
    free_uses,
    is_test,
    keyword_votes,
    names_by_place,
    parameter_names,
    similarity,
)
from homeostat.repair.index import CallUse, Definition, FunctionNode
from homeostat.repair.symptom import Kind, Symptom

#: Below this two names are taken for one only where the docstring, or the lack of any other
#: parameter, says so.
_LEAST_SIMILAR = 0.5
#: The score of what nobody gives, or is kept under the wanted name: above a guess at a plain
#: constant's use (`constants.py`), below one at a constant that nobody writes.
_LEFT = 0.95


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield one rename for each parameter that the keyword may once have named."""
    for symptom in case.symptoms:
        if symptom.kind is not Kind.UNEXPECTED_KEYWORD:
            continue
        yield from _handed_on(case, symptom)
        callee = case.callee(symptom)
        if callee is None or callee.function is None:
            continue
        call = _failing_call(case, symptom, callee)
        possible = [
            name
            for name in parameter_names(callee.function)
            if name not in {"self", "cls"} and not _supplied(callee, call, name)
        ]
        fitting = _of_the_given_type(callee.function, possible, call, symptom.name)
        for name in possible:
            fits = fitting == [name]
            alone = fits or len(possible) == 1
            candidate = _candidate(
                case, symptom, callee, name, len(possible), fits=fits,
                left=alone and _is_given_by_nobody(case, callee, call, name),
            )  # fmt: skip
            if candidate is not None:
                yield candidate


def _of_the_given_type(
    function: FunctionNode, possible: list[str], call: CallUse | None, wanted: str
) -> list[str]:
    """Return the parameters whose default is of the type that the failing call gives."""
    given = [item.value for item in call.node.keywords if item.arg == wanted] if call else []
    kind = _kind_of(given[0]) if given else None
    had = defaults(function)
    return [name for name in possible if kind and name in had and _kind_of(had[name]) == kind]


def _kind_of(value: ast.expr) -> type | None:
    """Return the type of a literal, and of a display its own: a tuple is a tuple."""
    if isinstance(value, ast.Constant):
        return type(value.value)
    return type(value) if isinstance(value, ast.Tuple | ast.List | ast.Dict | ast.Set) else None


def _is_given_by_nobody(case: Case, callee: Definition, call: CallUse | None, name: str) -> bool:
    """Whether no call of the function gives a value for `name`, neither by keyword nor by place.

    A parameter that was taken out leaves none behind that nobody gives; one that was renamed does.
    """
    calls = list(callers(case.index, callee))
    if call is not None:
        calls += case.index.calls(call.name)
    return not any(_supplied(callee, one, name) or one.starred for one in calls)


def _handed_on(case: Case, symptom: Symptom) -> Iterator[Candidate]:
    """Yield renames in functions on the way that handed the keyword on with their `**` rest.

    The exception names who got it last; the parameter may be missing in who should have kept it.
    """
    for frame in reversed(symptom.fault.own_frames):
        around = case.index.enclosing(frame.path or "", frame.line)
        if around is None or around.function is None or around.function.args.kwarg is None:
            continue
        for name in parameter_names(around.function):
            if name != symptom.name and similarity(name, symptom.name) >= SIMILAR:
                candidate = _candidate(case, symptom, around, name, 1)
                if candidate is not None:
                    yield candidate


def _failing_call(case: Case, symptom: Symptom, callee: Definition) -> CallUse | None:
    frame = symptom.frame
    if frame is None or frame.path is None:
        return None
    parsed = case.index.parsed(frame.path)
    if parsed is None:
        return None
    around = [
        call
        for call in parsed.calls
        if call.line <= frame.line <= call.end_line and symptom.name in call.keywords
    ]
    del callee
    return around[0] if len(around) == 1 else None


def _supplied(callee: Definition, call: CallUse | None, name: str) -> bool:
    """Whether the failing call gives a value for `name` besides the keyword in question."""
    if call is None or callee.function is None:
        return False
    if name in call.keywords:
        return True
    return not call.starred and name in names_by_place(callee.function)[: call.positional]


def _has_a_place(
    case: Case, callee: Definition, function: FunctionNode, present: str, wanted: str
) -> bool:
    """Whether the present name is at home here more than the wanted one: then both may be meant.

    What is kept or handed on under its own name was called so all along, and so was what more
    functions have a parameter for.
    """
    kept = {word for word, value in _kept(function) if value == present}
    if present in kept and wanted not in kept:
        return True
    named: Counter[str] = Counter()
    for name in (present, wanted):
        for parsed in case.index.files_with(name):
            named[name] += sum(
                name in parameter_names(item.function)
                for item in parsed.definitions
                if item.function is not None
                and (item.path, item.qualname) != (callee.path, callee.qualname)
                and not is_test(parsed.path)
            )
    return named[present] > named[wanted]


def _kept(function: FunctionNode) -> Iterator[tuple[str, str]]:
    """Yield (name, local) of each attribute, keyword and key under which a body keeps a local."""
    yield from _kept_as_attributes(function)
    for node in ast.walk(function):
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Name):
            yield node.arg or "", node.value.id
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(value, ast.Name):
                    yield str(key.value), value.id


def _kept_as_attributes(function: FunctionNode) -> Iterator[tuple[str, str]]:
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
            for target in node.targets:
                if isinstance(target, ast.Attribute):
                    yield target.attr.strip("_"), node.value.id


def _doubt(case: Case, callee: Definition, present: str, wanted: str) -> str:
    """Return why a person has to decide, empty where the evidence is enough."""
    users, alike = keyword_votes(case.index, callee, present), similarity(present, wanted)
    if users:
        return f"{users} calls give the keyword {present!r}"
    if documented(callee, present) and not documented(callee, wanted):
        return f"the docstring speaks of {present!r}"
    if callee.function and _has_a_place(case, callee, callee.function, present, wanted):
        return f"{present!r} has a place of its own beside {wanted!r}"
    return f"{present!r} and {wanted!r} are alike only to {alike:.2f}" if alike < SIMILAR else ""


def _candidate(
    case: Case,
    symptom: Symptom,
    callee: Definition,
    present: str,
    possible: int,
    *,
    fits: bool = False,
    left: bool = False,
) -> Candidate | None:
    """Return the rename.

    `fits` says that no other parameter is of the type that is given, `left` that nobody gives
    this one a value.
    """
    wanted = symptom.name
    function = callee.function
    if function is None or free_uses(function, wanted):
        return None
    told = documented(callee, wanted) and not documented(callee, present)
    kept = (wanted, present) in _kept_as_attributes(function)
    if (
        similarity(present, wanted) < _LEAST_SIMILAR
        and not (told or fits or kept)
        and (possible > 1 or documented(callee, present))
    ):
        return None
    alike = similarity(present, wanted)
    users = keyword_votes(case.index, callee, present)
    if users and alike < SIMILAR:
        # Both names are given by callers, so they are two parameters, of which one is gone.
        return None
    if documented(callee, present) and documented(callee, wanted):
        return None
    text = rename_parameter(case.tree.text(callee.path), callee.qualname, present, wanted)
    if text is None:
        return None
    spoken_of = documented(callee, present) and not documented(callee, wanted)
    votes = keyword_votes(case.index, callee, wanted)
    score = 0.2 + 0.5 * alike + 0.05 * min(votes, 4) + 0.2 * documented(callee, wanted)
    score += 0.1 * (possible == 1) - 0.3 * (users > 0) - 0.2 * spoken_of
    if (left or kept) and not users and not spoken_of:
        # To add the wanted one as well would need a use for it, which is a guess.
        score = max(score, _LEFT)
    problem = _doubt(case, callee, present, wanted)
    return Candidate(
        strategy="renamed_parameter",
        defect=DefectClass.RENAMED_PARAMETER,
        title=f"Rename the parameter {present!r} of {callee.qualname} back to {wanted!r}.",
        changes={callee.path: text},
        score=score,
        rule="" if problem else "rename, similarity ≥ 0.8 and no user of the new name",
        waits_because=problem,
        parameters={
            "path": callee.path,
            "function": callee.qualname,
            "from": present,
            "to": wanted,
            "similarity": round(alike, 3),
        },
        traced=((callee.qualname, wanted),),
        atomic=True,
    )
