"""From a live exception to the chain of what was raised, innermost cause first.

Reading an exception must not run the application's code: a `__str__` or `__repr__` of the
application may raise, hang or return a gigabyte. Messages are therefore rendered structurally
(`homeostat.incidents.rendering`), and attributes are read past every override.
"""

from __future__ import annotations

import hashlib
import linecache
import os
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any

from homeostat.incidents import dialects, origin
from homeostat.incidents.raised import Frame, Raised
from homeostat.incidents.rendering import clean, message_of, type_name

#: A chain longer than this is cut; the innermost cause is what counts and is found all the same.
LONGEST_CHAIN = 50
#: Frames kept at either end of a deep traceback, so that 10,000 levels of recursion stay cheap.
OUTER_FRAMES = 100
INNER_FRAMES = 200
LARGEST_SOURCE = 4 * 1024 * 1024
DEEPEST_GROUP = 8

#: Given as a cause, these are the printed traceback of an exception that came from another process.
_REMOTE = frozenset(
    {"billiard.einfo.RemoteTraceback", "multiprocessing.pool.RemoteTraceback",
     "concurrent.futures.process._RemoteTraceback"}
)  # fmt: skip

#: The frames of a chain by code, namespace and line: its exceptions share most of them.
_Known = dict[tuple[int, int, int], Frame]

_CAUSE = BaseException.__dict__["__cause__"]
_CONTEXT = BaseException.__dict__["__context__"]
_SUPPRESS = BaseException.__dict__["__suppress_context__"]
_TRACEBACK = BaseException.__dict__["__traceback__"]


def chain_of(exc: BaseException, app_packages: Collection[str] = ()) -> tuple[Raised, ...]:
    """Return what was raised, innermost cause first; suppressed contexts are left out."""
    known: _Known = {}
    links = links_of(original_of(exc))
    return tuple(_raised(link, how, app_packages, known, 0) for link, how in links)


def tracebacks_of(exc: BaseException) -> list[TracebackType | None]:
    """Return the tracebacks of the chain, in the order of `chain_of`."""
    return [_TRACEBACK.__get__(link) for link, _ in links_of(original_of(exc))]


def original_of(exc: BaseException) -> BaseException:
    """Return the exception that is being handled, where `exc` is only its stand-in.

    Celery hands its failure hooks a stand-in for an exception that cannot be pickled: another
    type with the same traceback. The original is still the one that this thread is handling.
    """
    handled = sys.exc_info()[1]
    if handled is None or handled is exc:
        return exc
    traceback = _TRACEBACK.__get__(exc)
    return handled if traceback is not None and traceback is _TRACEBACK.__get__(handled) else exc


def links_of(exc: BaseException) -> list[tuple[BaseException, str]]:
    """Return the exceptions of a chain and how each led to the next, innermost cause first."""
    links: list[tuple[BaseException, str]] = []
    seen: set[int] = set()
    current: BaseException | None = exc
    relation = ""
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        links.append((current, relation))
        current, relation = _next(current)
    if len(links) > LONGEST_CHAIN:
        links = links[: LONGEST_CHAIN // 2] + links[-LONGEST_CHAIN // 2 :]
    return links[::-1]


def _next(exc: BaseException) -> tuple[BaseException | None, str]:
    cause = _CAUSE.__get__(exc)
    if cause is not None and type_name(type(cause)) in _REMOTE:
        return None, ""
    if cause is not None:
        return cause, "was the direct cause of"
    if _SUPPRESS.__get__(exc):
        return None, ""
    return _CONTEXT.__get__(exc), "was being handled when"


def _raised(
    exc: BaseException, relation: str, app_packages: Collection[str], known: _Known, depth: int
) -> Raised:
    members: tuple[Raised, ...] = ()
    if isinstance(exc, BaseExceptionGroup) and depth < DEEPEST_GROUP:
        # The slot is read past a subclass's override, as everywhere here.
        inside = BaseExceptionGroup.__dict__["exceptions"].__get__(exc)
        members = tuple(
            _raised(_innermost(one), "", app_packages, known, depth + 1)
            for one in inside[:LONGEST_CHAIN]
        )
    frames = frames_of(_TRACEBACK.__get__(exc), app_packages, known)
    if type(exc) is AssertionError:
        frames = asserted(frames)
    return Raised(
        type=type_name(type(exc)),
        message=message_of(exc),
        frames=frames,
        relation=relation,
        members=members,
    )


def _innermost(exc: BaseException) -> BaseException:
    seen = {id(exc)}
    while True:
        inner, _ = _next(exc)
        if inner is None or id(inner) in seen:
            return exc
        seen.add(id(inner))
        exc = inner


def traceback_entries(traceback: TracebackType | None) -> list[TracebackType]:
    """Return the traceback's entries, outermost first, the middle of a very deep one left out."""
    entries: list[TracebackType] = []
    while traceback is not None:
        entries.append(traceback)
        traceback = traceback.tb_next
    if len(entries) > OUTER_FRAMES + INNER_FRAMES:
        entries = entries[:OUTER_FRAMES] + entries[-INNER_FRAMES:]
    return entries


def frames_of(
    traceback: TracebackType | None, app_packages: Collection[str], known: _Known
) -> tuple[Frame, ...]:
    """Return the frames of a traceback, outermost first; `known` are those of the chain so far."""
    return tuple(_frame(entry, app_packages, known) for entry in traceback_entries(traceback))


def _frame(entry: TracebackType, app_packages: Collection[str], known: _Known) -> Frame:
    frame = entry.tb_frame
    place = (id(frame.f_code), id(frame.f_globals), entry.tb_lineno or 0)
    found = known.get(place)
    if found is None:
        found = known[place] = _read_frame(entry, app_packages)
    return found


def _read_frame(entry: TracebackType, app_packages: Collection[str]) -> Frame:
    code = entry.tb_frame.f_code
    path = os.path.normpath(code.co_filename) if code.co_filename else ""
    module = module_of(entry.tb_frame.f_globals, code)
    in_app = origin.is_application(path, module, app_packages) and not origin.is_harness(
        path, module
    )
    return Frame(
        module=clean(module),
        function=clean(function_of(code)),
        path=clean(path),
        line=entry.tb_lineno or 0,
        context=clean(" ".join(source_line(path, entry.tb_lineno or 0).split())) if in_app else "",
        in_app=in_app,
    )


def asserted(frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """Return the frames of a failed assert, the last one with the line at which it begins."""
    last = frames[-1] if frames else None
    if last is None or not last.context:
        return frames
    first = dialects.assert_line(linecache.getlines(last.path), last.line)
    context = clean(" ".join(linecache.getline(last.path, first).split()))
    return (*frames[:-1], replace(last, context=context))


def module_of(namespace: dict[str, Any], code: CodeType) -> str:
    """Return the module's name; a script's is that of its file, as it is when imported."""
    name = namespace.get("__name__")
    if type(name) is str and name not in {"__main__", "__mp_main__"}:
        return name
    spec = namespace.get("__spec__")
    found = getattr(spec, "name", None) if spec is not None else None
    if type(found) is str:
        return found.removesuffix(".__main__")
    return origin.dotted(os.path.basename(code.co_filename))  # noqa: PTH119  # five times as fast, for each frame


def function_of(code: CodeType) -> str:
    """Return the qualified function name, as all supported versions of Python have it."""
    return dialects.function_of(code.co_qualname)


def source_line(path: str, number: int) -> str:
    """Return a line of a source file, or nothing where the file is missing or too large."""
    if origin.is_generated(path) or number < 1:
        return ""
    if path not in linecache.cache:
        try:
            if Path(path).stat().st_size > LARGEST_SOURCE:
                return ""
        except (OSError, ValueError):
            return ""
    return linecache.getline(path, number)


def hash_of_target(cause: Raised) -> str | None:
    r"""Return the SHA-256 of the innermost application frame's file, with `\n` as line end."""
    path = next((frame.path for frame in reversed(cause.frames) if frame.in_app), None)
    if path is None:
        return None
    try:
        file = Path(path)
        if file.stat().st_size > LARGEST_SOURCE:
            return None
        return hashlib.sha256(file.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
    except (OSError, ValueError):
        return None
