"""What each fault of a failure says, read from its type and message."""

from __future__ import annotations

import re
from collections.abc import Iterator

from homeostat.repair.failure import Failure, Fault
from homeostat.repair.symptom import Kind, Symptom

_QUALNAME = r"(?P<subject>[\w.<>]+)"
_RULES: tuple[tuple[str, Kind, str], ...] = (
    ("TypeError", Kind.UNEXPECTED_KEYWORD,
     _QUALNAME + r"\(\) got an unexpected keyword argument '(?P<name>\w+)'"),
    ("TypeError", Kind.UNEXPECTED_KEYWORD,
     r"(?P<name>\w+)\(\) got some positional-only arguments passed as keyword arguments"),
    ("TypeError", Kind.MISSING_ARGUMENT,
     _QUALNAME + r"\(\) missing \d+ required (?:positional|keyword-only) arguments?: (?P<name>.+)"),
    ("TypeError", Kind.MISSING_ARGUMENT, r"non-default argument (?P<name>'\w+') follows default"),
    ("TypeError", Kind.SURPLUS_ARGUMENT,
     _QUALNAME + r"\(\) takes (?P<name>.+?) positional arguments? but"),
    ("TypeError", Kind.SURPLUS_ARGUMENT, r"(?P<subject>\w+)\(\) takes (?P<name>no) arguments"),
    ("TypeError", Kind.ABSTRACT_METHOD,
     r"Can't instantiate abstract class (?P<subject>\w+) with.* abstract methods? (?P<name>.+)"),
    ("ImportError", Kind.CIRCULAR,
     r"cannot import name '(?P<name>\w+)' from partially initialized module '(?P<subject>[\w.]+)'"),
    ("ImportError", Kind.CANNOT_IMPORT,
     r"cannot import name '(?P<name>\w+)' from '(?P<subject>[\w.]+)'"),
    ("ImportError", Kind.NO_PACKAGE,
     r"attempted relative import (?P<name>beyond top-level package|with no known parent package)"),
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
