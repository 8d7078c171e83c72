"""The two keys of a failure: one to group it under, a stricter one to replay a fix by.

*Group key*: the innermost cause's type and the ordered, unique `module:function` frames of the
application. One open incident per group key.
*Replay key*: the group key, the failing line (white space folded), the message's template and the
hash of the file that failed. Over-grouping would replay a wrong patch, so this one is strict.
A failure without an application frame is keyed by task, type and message template.

No key contains a line number, a path, a time, an address, a process id or any measured value.
Each carries the version of the algorithm; when that changes, the older versions' keys are looked
up too, so that no open incident is lost.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from homeostat.incidents import dialects
from homeostat.incidents.failure import Failure, Source
from homeostat.incidents.raised import Frame, Raised
from homeostat.incidents.templates import template_of

VERSION = 1
KEY_LENGTH = 32
LABEL_LENGTH = 12

#: Frames of comprehensions: Python 3.12 inlined most of them (PEP 709), so they cannot count.
_COMPREHENSIONS = frozenset({"<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>"})
#: Errors whose quoted words are names in the code, so the cause itself and not a passing value.
_ABOUT_NAMES = frozenset(
    {"AttributeError", "ImportError", "ModuleNotFoundError", "NameError", "TypeError",
     "UnboundLocalError"}
)  # fmt: skip
#: Where these strike is chance: a time limit or a kill says nothing of the line it met.
_ANYWHERE = frozenset(
    {"SoftTimeLimitExceeded", "TimeLimitExceeded", "WorkerLostError", "Terminated",
     "KeyboardInterrupt", "SystemExit"}
)  # fmt: skip
_QUOTED_NAME = re.compile(r"(?<!\w)'([A-Za-z_][\w.]*)'(?!\w)")


@dataclass(frozen=True, slots=True)
class Basis:
    """What the keys are made of: kept with the incident, because it is the reason for grouping."""

    type: str
    frames: tuple[str, ...]
    task: str | None
    template: str
    context: str
    target_hash: str | None


@dataclass(frozen=True, slots=True)
class Signature:
    """A failure's identity; `former` are its group keys under earlier versions."""

    group_key: str
    replay_key: str
    version: int
    reason: str
    label: str
    basis: Basis
    former: tuple[str, ...] = ()

    @property
    def replayable(self) -> bool:
        """Whether the file that failed was seen, without which no fix may be replayed."""
        return self.basis.target_hash is not None

    @property
    def replay_reason(self) -> str:
        """Why a known fix may, or may not, be replayed for this failure."""
        made_of = "the group key, the failing line, the message's template"
        if self.replayable:
            return f"Replay is keyed by {made_of} and the hash of the file that failed."
        return f"Replay is keyed by {made_of}; the file was not seen, so no fix is replayed."


#: Group-key algorithms by version. An old one stays here as long as incidents may carry its keys.
Algorithms = Mapping[int, Callable[[Basis], str]]


def _digest(*parts: object) -> str:
    text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def group_key_v1(basis: Basis) -> str:
    """Version 1: type and frames; without frames, task, type and template."""
    if basis.frames:
        return _digest("group", 1, basis.type, basis.frames)
    return _digest("group", 1, basis.type, basis.task, basis.template)


ALGORITHMS: Algorithms = {1: group_key_v1}


def signature_of(failure: Failure, algorithms: Algorithms = ALGORITHMS) -> Signature:
    """Return the failure's signature under the newest of `algorithms`."""
    basis = basis_of(failure)
    newest = max(algorithms)
    keys = {version: algorithm(basis) for version, algorithm in algorithms.items()}
    group_key = keys.pop(newest)
    replay_key = _digest("replay", group_key, basis.context, basis.template, basis.target_hash)
    short_type = re.sub(r"[^\w|]", "", basis.type.rsplit(".", 1)[-1].split("[", 1)[0])
    component = (failure.component or failure.task or "unknown").rsplit(".", 1)[-1]
    return Signature(
        group_key=group_key,
        replay_key=replay_key,
        version=newest,
        reason=_reason(basis),
        label=f"{component}_{short_type}_{group_key[:LABEL_LENGTH]}",
        basis=basis,
        former=tuple(keys[version] for version in sorted(keys, reverse=True)),
    )


def basis_of(failure: Failure) -> Basis:
    """Reduce a failure to what is the same each time it happens."""
    cause = _deciding(failure.cause)
    leaves = _distinct_leaves(cause)
    if cause.members and len(leaves) == 1:
        cause, leaves = leaves[0], []
    type_name = _type(cause)
    struck, frames = cause, _stable_frames(cause)
    if len(leaves) > 1:
        type_name = f"{type_name}[{'|'.join(sorted(set(map(_type, leaves))))}]"
        members = sorted({">".join(_kind(leaf)) for leaf in leaves})
        names = (*_names(frames), *members)
    else:
        if not frames and not is_anywhere(cause):
            struck, frames = _outer_with_frames(failure.chain)
        names = _names(frames)
    return Basis(
        type=type_name,
        frames=names,
        task=_work_of(failure),
        template=message_template(type_name, cause),
        context=_failing_line(struck, frames),
        target_hash=failure.target_hash if frames else None,
    )


def _work_of(failure: Failure) -> str:
    """Name the work that failed; a component's check is the component, booted or checked.

    A trigger's rule watches many components, so its failures are told apart by component.
    """
    if failure.task is None or failure.task == f"checks.{failure.component}":
        return failure.component
    if failure.source is Source.TRIGGER:
        return f"{failure.component}:{failure.task}"
    return failure.task


def _deciding(cause: Raised) -> Raised:
    """Look through groups of one: an exception alone in a group is the failure itself."""
    while len(cause.members) == 1:
        cause = cause.members[0]
    return cause


def _distinct_leaves(cause: Raised) -> list[Raised]:
    """Return one leaf per type and frames; order and number of a group's members say nothing."""
    found: dict[tuple[str, ...], Raised] = {}
    for leaf in cause.leaves():
        found.setdefault(_kind(leaf), leaf)
    return [found[key] for key in sorted(found)]


def _kind(leaf: Raised) -> tuple[str, ...]:
    return (_type(leaf), *_names(_stable_frames(leaf)))


def _type(raised: Raised) -> str:
    return dialects.type_of(raised.type)


def _outer_with_frames(chain: Sequence[Raised]) -> tuple[Raised, list[Frame]]:
    """Return the nearest outer exception that has frames, where the cause was raised elsewhere."""
    for link in chain[1:]:
        frames = _stable_frames(link)
        if frames:
            return link, frames
    return chain[0], []


def _failing_line(raised: Raised, stable: Sequence[Frame]) -> str:
    """Return the innermost line of the application's, a comprehension's where that is it.

    Python 3.12 inlined comprehensions, so there the function's own frame stands at that line. Where
    a recursion ran out of stack is chance: its line is that of the first function that recurs.
    """
    if not stable or _type(raised) == "RecursionError":
        return stable[-1].context if stable else ""
    return next(frame.context for frame in reversed(raised.frames) if frame.in_app)


def is_anywhere(raised: Raised) -> bool:
    """Tell whether it is chance where the exception struck."""
    return raised.type.rsplit(".", 1)[-1] in _ANYWHERE


def _stable_frames(raised: Raised) -> list[Frame]:
    """Return the first appearance of each application function, in order.

    Frames of comprehensions and generics are left out where their function is present. How deep a
    recursion went, and in which helper it ran out of stack, is chance: behind the first function
    that recurs, only functions that recur count towards a RecursionError.
    """
    if is_anywhere(raised):
        return []
    frames = [frame for frame in raised.frames if frame.in_app]
    named = [frame for frame in frames if not _is_inner(frame.function)]
    frames = named or frames
    counts = Counter(map(_name, frames))
    recursion = raised.type == "RecursionError"
    seen: dict[str, Frame] = {}
    recurring = False
    for frame in frames:
        name = _name(frame)
        recurring = recurring or counts[name] > 1
        if recursion and recurring and counts[name] == 1:
            continue
        seen.setdefault(name, frame)
    return list(seen.values())


def _is_inner(function: str) -> bool:
    """Tell whether the frame is one that Python made within a function, or once made."""
    leaf = function.rsplit(".", 1)[-1]
    return leaf in _COMPREHENSIONS or "<generic parameters of " in function


def _name(frame: Frame) -> str:
    return f"{frame.module}:{frame.function}"


def _names(frames: Sequence[Frame]) -> tuple[str, ...]:
    return tuple(map(_name, frames))


def message_template(type_name: str, raised: Raised) -> str:
    """Return the message's template, alike on all supported versions of Python.

    Errors about names keep the names that they quote: `no attribute 'a'` and `no attribute 'b'`
    are two causes, and a patch for one is wrong for the other.
    """
    if type_name == "RecursionError":
        return "maximum recursion depth exceeded"
    text = dialects.wording_of(raised)
    if type_name.rsplit(".", 1)[-1] in _ABOUT_NAMES:
        text = _QUOTED_NAME.sub(partial(_keep, "«{}»"), text)
    return template_of(text).rstrip(" .:")


def _keep(form: str, match: re.Match[str]) -> str:
    # A digit would be masked as a number; in a name it is part of the name.
    return form.format(match.group(1).translate(_DIGITS))


_DIGITS = {ord("0") + number: letter for number, letter in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}


def _reason(basis: Basis) -> str:
    if basis.frames:
        return (
            f"Grouped by the innermost cause's type {basis.type} and its application frames "
            f"{' > '.join(basis.frames)}; line numbers, paths and values do not count."
        )
    return (
        f"No application frame was seen, so it is grouped by task {basis.task}, type {basis.type} "
        f"and message template {basis.template!r}."
    )
