"""From a failure to its place: what each fault says, and which definition it is about."""

from __future__ import annotations

import re
from collections.abc import Iterator

from homeostat.repair.case import Case, Kind, Symptom
from homeostat.repair.failure import Failure, Fault
from homeostat.repair.index import Definition

_QUALNAME = r"(?P<subject>[\w.<>]+)"
_RULES: tuple[tuple[str, Kind, str], ...] = (
    ("TypeError", Kind.UNEXPECTED_KEYWORD,
     _QUALNAME + r"\(\) got an unexpected keyword argument '(?P<name>\w+)'"),
    ("TypeError", Kind.UNEXPECTED_KEYWORD,
     r"(?P<name>\w+)\(\) got some positional-only arguments passed as keyword arguments"),
    ("TypeError", Kind.MISSING_ARGUMENT,
     _QUALNAME + r"\(\) missing \d+ required (?:positional|keyword-only) arguments?: (?P<name>.+)"),
    ("TypeError", Kind.SURPLUS_ARGUMENT,
     _QUALNAME + r"\(\) takes (?P<name>.+?) positional arguments? but"),
    ("TypeError", Kind.SURPLUS_ARGUMENT, r"(?P<subject>\w+)\(\) takes (?P<name>no) arguments"),
    ("ImportError", Kind.CIRCULAR,
     r"cannot import name '(?P<name>\w+)' from partially initialized module '(?P<subject>[\w.]+)'"),
    ("ImportError", Kind.CANNOT_IMPORT,
     r"cannot import name '(?P<name>\w+)' from '(?P<subject>[\w.]+)'"),
    ("ModuleNotFoundError", Kind.NO_MODULE, r"No module named '(?P<name>[\w.]+)'"),
    ("AttributeError", Kind.CIRCULAR,
     r"partially initialized module '(?P<subject>[\w.]+)' (?:from '[^']*' )?has no attribute '(?P<name>\w+)'"),
    ("AttributeError", Kind.NONE_VALUE, r"'NoneType' object has no attribute '(?P<name>\w+)'"),
    ("AttributeError", Kind.NO_ATTRIBUTE,
     r"(?:module|type object|class) '(?P<subject>[\w.]+)' has no attribute '(?P<name>\w+)'"),
    ("AttributeError", Kind.NO_ATTRIBUTE,
     r"'(?P<subject>[\w.]+)' object has no attribute '(?P<name>\w+)'"),
    ("AttributeError", Kind.NO_ATTRIBUTE, r"(?P<name>[A-Za-z_]\w*)$"),
    ("NameError", Kind.UNDEFINED_NAME, r"name '(?P<name>\w+)' is not defined"),
    ("UnboundLocalError", Kind.UNDEFINED_NAME, r"local variable '(?P<name>\w+)'"),
    ("TypeError", Kind.NONE_VALUE, r".*(?P<name>'?NoneType'?)"),
    ("KeyError", Kind.MISSING_KEY, r"(?P<name>.+)"),
    ("ValueError", Kind.LENGTH, r"(?P<name>not enough values|too many values) to unpack"),
    ("IndexError", Kind.LENGTH, r"(?P<name>.*index out of range)"),
)  # fmt: skip


def symptoms_of(failure: Failure) -> tuple[Symptom, ...]:
    """Read the faults, innermost cause first; equal readings are kept once."""
    found: dict[tuple[Kind, str, str], Symptom] = {}
    for fault in failure.faults:
        for symptom in _read(fault):
            found.setdefault((symptom.kind, symptom.name, symptom.subject), symptom)
    return tuple(found.values())


def _read(fault: Fault) -> Iterator[Symptom]:
    for kind_of_error, kind, pattern in _RULES:
        if fault.type != kind_of_error:
            continue
        matched = re.match(pattern, fault.message.strip())
        if matched is None:
            continue
        groups = matched.groupdict()
        name, subject = groups["name"], groups.get("subject") or ""
        names = tuple(re.findall(r"'(\w+)'", name)) if kind is Kind.MISSING_ARGUMENT else ()
        yield Symptom(kind, names[0] if names else name, subject, fault, names)
        return


def find_callee(case: Case, symptom: Symptom) -> Definition | None:
    """Return our own definition of what was called.

    The running program's word comes first (it was asked for the object called); the qualified
    name in the message and the index decide where it could not say.
    """
    place = symptom.fault.callee
    if place is not None and place.file is not None:
        if place.path is None:
            return None
        found = case.index.in_file(place.path, place.qualname)
        if found and _matches(place.qualname, symptom.subject):
            return _nearest(found, place.line)
    if not symptom.subject:
        return None
    return _by_message(case, symptom)


def _matches(qualname: str, subject: str) -> bool:
    """Whether the message names the same function; a decorator's wrapper may stand in between."""
    return not subject or qualname.rsplit(".", 1)[-1] == subject.rsplit(".", 1)[-1]


def _nearest(found: list[Definition], line: int | None) -> Definition:
    return min(found, key=lambda item: abs(item.line - (line or item.line)))


def _by_message(case: Case, symptom: Symptom) -> Definition | None:
    last = symptom.subject.rsplit(".", 1)[-1]
    named = [item for item in case.index.definitions(last) if item.qualname == symptom.subject]
    named = [item for item in named if item.function is not None]
    if len(named) > 1:
        named = _near(case, symptom, named) or named
    if symptom.fault.callee is None and symptom.fault.frames and len(named) > 1:
        return None
    return named[0] if named else None


def _near(case: Case, symptom: Symptom, named: list[Definition]) -> list[Definition]:
    """Keep the definitions in files that the failing file imports, or in that file itself."""
    frame = symptom.frame
    if frame is None or frame.path is None:
        return []
    parsed = case.index.parsed(frame.path)
    if parsed is None:
        return []
    modules = {case.index.absolute(use) for use in parsed.imports}
    modules |= {f"{case.index.absolute(use)}.{use.name}" for use in parsed.imports}
    return [
        item for item in named if item.path == frame.path or case.index.dotted(item.path) in modules
    ]
