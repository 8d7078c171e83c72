"""Failures that come as a document: a traceback's text, or a JSON event.

Three shapes of JSON are understood: this project's own diagnostic bundle (or what
`homeostat incident show -o json` prints), the event format of Sentry's SDKs (`exception.values`),
and a flat record with `type`, `message` and optionally `traceback`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from homeostat.errors import HomeostatError
from homeostat.incidents import origin
from homeostat.incidents.failure import Failure, Source
from homeostat.incidents.raised import Frame, Raised
from homeostat.incidents.rendering import clean
from homeostat.incidents.traceback_text import TracebackTextError

Document = Mapping[str, Any]


class EventError(HomeostatError):
    """The JSON holds no exception; give a bundle, or a record with `type` and `message`."""

    exit_code = 65


def failure_from(text: str, *, component: str = "", task: str | None = None) -> Failure:
    """Read a failure; what the document says of component and task counts where none is given.

    Raises TracebackTextError or EventError.
    """
    stripped = text.lstrip("\ufeff \t\r\n")
    if stripped.startswith(("{", "[{")):
        try:
            document = json.loads(stripped)
        except (ValueError, RecursionError) as error:
            raise EventError(f"The file begins like JSON and is none: {error}.") from error
        if not isinstance(document, dict):
            raise EventError("The JSON is a list; give one event of it.")
        return _from_document(document, component, task)
    try:
        return Failure.from_text(text, source=Source.CLI, component=component, task=task)
    except RecursionError as error:
        raise TracebackTextError from error


def _from_document(document: Document, component: str, task: str | None) -> Failure:
    bundle = document.get("bundle")
    document = bundle if isinstance(bundle, dict) else document
    failure = document.get("failure")
    about: Document = failure if isinstance(failure, dict) else document
    component = component or _text(about, "component", "transaction", "logger")
    task = task or _text(about, "task") or None
    exception = document.get("exception")
    chain: tuple[Raised, ...]
    if isinstance(exception, list) and exception:
        chain = tuple(_own(link) for link in exception)
    elif isinstance(exception, dict) and _list(exception, "values"):
        # Sentry lists the outermost exception last and the innermost cause first.
        chain = tuple(_sentry(link) for link in _list(exception, "values"))
    elif _text(document, "traceback", "stack_trace", "exc_text"):
        text = _text(document, "traceback", "stack_trace", "exc_text")
        return Failure.from_text(text, source=Source.CLI, component=component, task=task)
    elif _text(document, "type", "exc_type"):
        name = _text(document, "type", "exc_type").removeprefix("builtins.")
        chain = (Raised(name, _text(document, "message", "value", "exc_message")),)
    else:
        raise EventError
    target = about.get("target_hash")
    return Failure(
        source=Source.API,
        component=component,
        task=task,
        chain=chain,
        target_hash=target if isinstance(target, str) else None,
    )


def _text(document: Any, *names: str) -> str:
    if isinstance(document, dict):
        for name in names:
            if isinstance(document.get(name), str) and document[name]:
                return clean(document[name])
    return ""


def _list(document: Any, name: str) -> list[Any]:
    found = document.get(name) if isinstance(document, dict) else None
    return found if isinstance(found, list) else []


def _own(link: Any) -> Raised:
    if not isinstance(link, dict) or not _text(link, "type"):
        raise EventError
    return Raised(
        type=_text(link, "type"),
        message=_text(link, "message"),
        frames=tuple(
            Frame(
                module=_text(frame, "module"),
                function=_text(frame, "function"),
                path=_text(frame, "path"),
                line=_number(frame.get("line")),
                context=_text(frame, "context"),
                in_app=bool(frame.get("in_app")),
            )
            for frame in _list(link, "frames")
            if isinstance(frame, dict)
        ),
    )


def _sentry(link: Any) -> Raised:
    if not isinstance(link, dict) or not _text(link, "type"):
        raise EventError
    frames = _list(link.get("stacktrace"), "frames")
    module = _text(link, "module")
    prefix = "" if module in {"", "builtins", "__main__", "exceptions"} else f"{module}."
    return Raised(
        type=prefix + _text(link, "type"),
        message=_text(link, "value"),
        frames=tuple(_sentry_frame(frame) for frame in frames if isinstance(frame, dict)),
    )


def _sentry_frame(frame: Document) -> Frame:
    path = _text(frame, "abs_path", "filename")
    module = _text(frame, "module") or origin.dotted(_text(frame, "filename") or path)
    declared = frame.get("in_app")
    in_app = declared if isinstance(declared, bool) else origin.is_application(path, module)
    return Frame(
        module=module,
        function=_text(frame, "function"),
        path=path,
        line=_number(frame.get("lineno")),
        context=" ".join(_text(frame, "context_line").split()),
        in_app=in_app,
    )


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
