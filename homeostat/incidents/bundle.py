"""The diagnostic bundle: what was known when an incident opened, as one JSON document.

Capturing never raises and never runs the application's code: each part is taken by itself, and
one that fails says so in its place. The document is redacted as a whole, so a secret seen in one
part is removed from all the others, and cut down to 256 KB, the least telling parts first.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from itertools import islice
from types import TracebackType

from pydantic import JsonValue

from homeostat.clock import utcnow
from homeostat.incidents import given, loglines, surroundings, unwinding
from homeostat.incidents.failure import Failure
from homeostat.incidents.raised import Raised
from homeostat.incidents.redaction import Redactor, redactor
from homeostat.incidents.rendering import is_code, render, text_of

SCHEMA = 1
LARGEST = 256 * 1024
#: Frames with local variables: the application's innermost, and the last few behind them.
FRAMES_WITH_LOCALS = 10
FRAMES_SHOWN = 60
LOCALS = 25
NODES_PER_LOCAL = 60
LONGEST_LOCAL = 400
LONGEST_MESSAGE = 4_000
#: Bytes of rendered variables after which no further frame's are rendered.
LOCALS_ALLOWANCE = 32 * 1024
CHAIN_SHOWN = 6

Content = dict[str, JsonValue]


def capture(failure: Failure) -> Content:
    """Return what this process knows of the failure; never raises, takes milliseconds."""
    content: Content = {
        "schema": SCHEMA,
        "captured_at": utcnow().isoformat(),
        "failure": {
            "source": failure.source,
            "component": failure.component,
            "task": failure.task,
            "occurred_at": failure.occurred_at.isoformat(),
            "target_hash": failure.target_hash,
        },
        "call": failure.call.as_json() if failure.call else None,
    }
    parts: dict[str, Callable[[], JsonValue]] = {
        "exception": lambda: exception_chain(failure),
        "logs": loglines.last_lines,
        "process": surroundings.process,
        "host": surroundings.host,
        "configuration": surroundings.configuration,
        "packages": surroundings.known_packages,
        "source": surroundings.known_revision,
    }
    for name, part in parts.items():
        content[name] = guarded(part)
    return finish(content, failure)


def guarded(part: Callable[[], JsonValue]) -> JsonValue:
    """Return one part of a bundle, or why it could not be had."""
    try:
        return part()
    except Exception as error:  # noqa: BLE001  # a part that cannot be had must not cost the rest
        return {"unavailable": text_of(f"{type(error).__name__}: {error}", 200)}


def finish(content: Content, failure: Failure | None = None) -> Content:
    """Redact and cut to size; where even that fails, the fact remains and nothing leaks."""
    try:
        cleaner = _knowing_given(failure)
        cleaner.learn(content)
        clean = cleaner.value(content)
        return fitted(clean) if isinstance(clean, dict) else {"schema": SCHEMA}
    except Exception as error:  # noqa: BLE001  # an unredacted bundle must never be kept
        return {"schema": SCHEMA, "unavailable": f"redaction failed: {type(error).__name__}"}


def cleaner_of(failure: Failure) -> Redactor:
    """Return a redactor that knows what stands under secret names in the failure's variables.

    For the words that are kept beside the bundle: a message often quotes a variable.
    """
    cleaner = _knowing_given(failure)
    cleaner.learn(guarded(partial(exception_chain, failure)))
    return cleaner


def _knowing_given(failure: Failure | None) -> Redactor:
    cleaner = redactor()
    exception = failure.exception if failure else None
    for name, text in given.texts_of(exception) if exception else ():
        cleaner.learn(text, name)
    return cleaner


def exception_chain(failure: Failure) -> JsonValue:
    """Return the chain, innermost cause first, with frames and their local variables.

    The innermost frames' variables are rendered first, and the rendering stops when the
    allowance is spent, so that a deep or wide failure takes no longer than any other.
    """
    links = list(enumerate(failure.chain))
    left_out = max(0, len(links) - CHAIN_SHOWN)
    if left_out:
        links = [*links[: CHAIN_SHOWN - 1], links[-1]]
    tracebacks = unwinding.tracebacks_of(failure.exception) if failure.exception else []
    allowance = [LOCALS_ALLOWANCE]
    shown: list[JsonValue] = [
        {
            "type": raised.type,
            "message": raised.message[:LONGEST_MESSAGE],
            "relation": raised.relation,
            "members": _members(raised),
            "frames": _frames(raised, tracebacks[place] if tracebacks else None, allowance),
        }
        for place, raised in links
    ]
    if left_out and isinstance(outermost := shown[-1], dict):
        outermost["left_out_before"] = left_out
    return shown


def _members(raised: Raised) -> list[JsonValue]:
    if not raised.members:
        return []
    return [f"{leaf.type}: {leaf.message[:500]}"[:500] for leaf in islice(raised.leaves(), 20)]


def _frames(
    raised: Raised, traceback: TracebackType | None, allowance: list[int]
) -> list[JsonValue]:
    entries = unwinding.traceback_entries(traceback)
    live = entries if len(entries) == len(raised.frames) else []
    in_app = [number for number, frame in enumerate(raised.frames) if frame.in_app]
    last = len(raised.frames)
    # Within the application's innermost frame: what lies around it is the worker's machinery.
    inside = in_app[-1] + 1 if in_app else 0
    with_locals = {*in_app[-FRAMES_WITH_LOCALS:], *range(max(inside, last - 3), last)}
    shown: list[JsonValue] = []
    for number in range(last - 1, max(-1, last - 1 - FRAMES_SHOWN), -1):
        frame = raised.frames[number]
        entry: Content = {
            "module": frame.module,
            "function": frame.function,
            "path": frame.path,
            "line": frame.line,
            "context": frame.context[:500],
            "in_app": frame.in_app,
        }
        if live and number in with_locals and allowance[0] > 0:
            entry["locals"] = guarded(partial(_locals, live[number]))
            allowance[0] -= size_of(entry)
        shown.append(entry)
    return shown[::-1]


def _locals(entry: TracebackType) -> JsonValue:
    names = entry.tb_frame.f_locals
    shown: Content = {}
    for name, value in list(names.items()):
        # A module's imports and definitions are told better by its source.
        if name.startswith("__") or is_code(value):
            continue
        shown[str(name)] = render(value, nodes=NODES_PER_LOCAL, longest=LONGEST_LOCAL)
        if len(shown) == LOCALS:
            break
    return shown


def size_of(content: Content) -> int:
    """Return the document's size in bytes, as it is stored."""
    return len(json.dumps(content, ensure_ascii=True))


def fitted(content: Content) -> Content:
    """Cut the document to `LARGEST`: package list, locals, log lines and frames, in this order."""
    for cut in (_cut_packages, _cut_outer_locals, _cut_logs, _cut_all_locals, _cut_frames):
        if size_of(content) <= LARGEST:
            return content
        content = cut(content) | {"cut": True}
    if size_of(content) <= LARGEST:
        return content
    kept = {"schema", "captured_at", "failure"}
    return {key: value for key, value in content.items() if key in kept} | {"cut": True}


def _cut_packages(content: Content) -> Content:
    return content | {"packages": None}


def _cut_logs(content: Content) -> Content:
    logs = content.get("logs")
    return content | {"logs": logs[-20:] if isinstance(logs, list) else []}


def _cut_outer_locals(content: Content) -> Content:
    return _without_locals(content, keep=2)


def _cut_all_locals(content: Content) -> Content:
    return _without_locals(content, keep=0)


def _without_locals(content: Content, keep: int) -> Content:
    chain = content.get("exception")
    for raised in chain if isinstance(chain, list) else []:
        frames = raised.get("frames") if isinstance(raised, dict) else None
        if isinstance(frames, list):
            for frame in frames[: len(frames) - keep]:
                if isinstance(frame, dict):
                    frame.pop("locals", None)
    return content


def _cut_frames(content: Content) -> Content:
    chain = content.get("exception")
    if isinstance(chain, list):
        content["exception"] = chain[:3]
        for raised in chain[:3]:
            frames = raised.get("frames") if isinstance(raised, dict) else None
            if isinstance(frames, list):
                del frames[:-10]
    return content
