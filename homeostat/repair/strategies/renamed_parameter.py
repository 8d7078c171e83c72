"""A caller gives a keyword whose parameter has been renamed: the parameter gets its name back."""

from __future__ import annotations

from collections.abc import Iterator

from homeostat.repair.case import Candidate, Case, DefectClass
from homeostat.repair.codemods.functions import rename_parameter
from homeostat.repair.evidence import (
    SIMILAR,
    documented,
    free_uses,
    keyword_votes,
    parameter_names,
    similarity,
)
from homeostat.repair.index import CallUse, Definition
from homeostat.repair.symptom import Kind, Symptom

#: Below this two names are taken for one only where the docstring, or the lack of any other
#: parameter, says so.
_LEAST_SIMILAR = 0.5


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
        for name in possible:
            candidate = _candidate(case, symptom, callee, name, len(possible))
            if candidate is not None:
                yield candidate


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
    positional = [
        item.arg for item in (*callee.function.args.posonlyargs, *callee.function.args.args)
    ]
    if positional and positional[0] in {"self", "cls"}:
        positional = positional[1:]
    return not call.starred and name in positional[: call.positional]


def _candidate(
    case: Case, symptom: Symptom, callee: Definition, present: str, possible: int
) -> Candidate | None:
    wanted = symptom.name
    function = callee.function
    if function is None or free_uses(function, wanted):
        return None
    told = documented(callee, wanted) and not documented(callee, present)
    if (
        similarity(present, wanted) < _LEAST_SIMILAR
        and not told
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
    problem = ""
    if users:
        problem = f"{users} calls give the keyword {present!r}"
    elif spoken_of:
        problem = f"the docstring speaks of {present!r}"
    elif alike < SIMILAR:
        problem = f"{present!r} and {wanted!r} are alike only to {alike:.2f}"
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
