"""What an installed package offers was called and is gone: the call is adapted.

A keyword that is gone is renamed or dropped, an attribute is replaced by a similar one or by the
built-in of its name. All of it waits for a person, as every adapted caller does.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator

from homeostat.repair import installed
from homeostat.repair.case import Candidate, Case
from homeostat.repair.evidence import is_test, parameter_names, similarity
from homeostat.repair.failure import Frame
from homeostat.repair.strategies.adapted_caller import adapted, foreign
from homeostat.repair.symptom import Kind, Symptom

_NAME = "installed_call"
#: From here on an attribute is tried in another's place.
_LEAST_SIMILAR = 0.4


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield adapted calls."""
    for symptom in case.symptoms:
        frame = symptom.frame
        if frame is None or frame.path is None or is_test(frame.path):
            continue
        if symptom.kind is Kind.UNEXPECTED_KEYWORD:
            yield from _keyword(case, symptom, frame, frame.path)
        elif symptom.kind is Kind.NO_ATTRIBUTE and foreign(case, symptom.subject):
            yield from _attribute(case, symptom, frame, frame.path)


def _keyword(case: Case, symptom: Symptom, frame: Frame, path: str) -> Iterator[Candidate]:
    """A keyword that the installed callee no longer takes: a similar one, or none."""
    place = symptom.fault.callee
    if place is None or place.inside or place.file is None:
        return
    # The keyword may have been handed on (`**kwargs`): the call that names it is what changes.
    for outer in reversed(symptom.fault.own_frames):
        named = case.index.parsed(outer.path or "")
        if named is not None and any(
            call.line <= outer.line <= call.end_line and symptom.name in call.keywords
            for call in named.calls
        ):
            frame, path = outer, outer.path or path
            break
    parsed = case.index.parsed(path)
    calls = [
        call
        for call in (parsed.calls if parsed else ())
        if call.line <= frame.line <= call.end_line and symptom.name in call.keywords
    ]
    if len(calls) != 1:
        return
    text = case.tree.text(path)
    keyword = next(item for item in calls[0].node.keywords if item.arg == symptom.name)
    definition = installed.function_at(place.file, place.qualname)
    known = parameter_names(definition.function) if definition and definition.function else []
    for name in known:
        alike = similarity(name, symptom.name)
        if alike >= 0.7 and name not in calls[0].keywords:
            value = ast.get_source_segment(text, keyword.value) or ""
            changed = _spliced(text, keyword, f"{name}={value}")
            yield from adapted(
                _NAME, path, changed, f"Give {place.qualname} the keyword {name} in {path}, as "
                f"{symptom.name} is called now.", 0.6 * alike,
            )  # fmt: skip
    yield from adapted(
        _NAME, path, _spliced(text, keyword, ""),
        f"Call {place.qualname} in {path} without {symptom.name}, which it takes no longer.", 0.5,
    )  # fmt: skip


def _spliced(text: str, node: ast.keyword, new: str) -> str:
    """Replace a keyword argument; with nothing, its comma goes too."""
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))
    raw = text.encode()
    start = starts[node.lineno - 1] + node.col_offset
    end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
    if not new:
        follows = re.match(rb"\s*,[ \t]*(\r?\n[ \t]*)?", raw[end:])
        if follows:
            end += follows.end()
        else:
            start = len(raw[:start].rstrip().rstrip(b","))
    return (raw[:start] + new.encode() + raw[end:]).decode()


def _attribute(case: Case, symptom: Symptom, frame: Frame, path: str) -> Iterator[Candidate]:
    """An attribute of an installed module that is gone: a similar one, or the built-in."""
    place = symptom.fault.owner
    if place is not None and place.inside:
        return
    text = case.tree.text(path)
    lines = text.splitlines(keepends=True)
    pattern = re.compile(rf"(\b\w+(?:\.\w+)*)\.{re.escape(symptom.name)}\b")
    line = lines[frame.line - 1]
    if not pattern.search(line):
        return
    choices: list[tuple[str, float]] = []
    if hasattr(builtins, symptom.name):
        choices.append((symptom.name, 0.8))
    for other in installed.names_of(case.interpreter, symptom.subject):
        alike = similarity(other, symptom.name)
        if alike >= _LEAST_SIMILAR and other != symptom.name:
            choices.append((rf"\g<1>.{other}", 0.7 * alike))
    for new, score in sorted(choices, key=lambda item: -item[1])[:4]:
        changed = "".join([*lines[: frame.line - 1], pattern.sub(new, line), *lines[frame.line :]])
        shown = new.replace(r"\g<1>", symptom.subject)
        yield from adapted(
            _NAME, path, changed,
            f"Use {shown} in {path}: {symptom.subject}.{symptom.name} is gone.", score,
        )  # fmt: skip
