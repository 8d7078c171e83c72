"""The last log lines of this process, kept in a ring for the diagnostic bundle.

A log record's arguments may be objects whose `__str__` is the application's; they are rendered
structurally, so that keeping a line is as harmless as the rest of the bundle.
"""

from __future__ import annotations

import logging
from collections import deque
from datetime import UTC, datetime

from pydantic import JsonValue

from homeostat.incidents.rendering import text_of

KEPT = 100
LONGEST_LINE = 500
_SAFE = (str, int, float, bool, type(None))


class Ring(logging.Handler):
    """Keeps the last lines; attach it to the root logger with `install`."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: deque[tuple[float, str, str, str]] = deque(maxlen=KEPT)
        self._last: logging.LogRecord | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record; a record that cannot be rendered is kept as its template."""
        if record is self._last:
            return  # it came by way of a logger below, too
        self._last = record
        template = text_of(record.msg, LONGEST_LINE)
        text = template
        if record.args:
            try:
                text = template % _plain(record.args)
            except (TypeError, ValueError, KeyError, OverflowError):
                text = template
        self.lines.append((record.created, record.levelname, record.name, text[:LONGEST_LINE]))


def _plain(args: object) -> object:
    if isinstance(args, dict):
        return {key: _plain_one(value) for key, value in args.items()}
    return tuple(_plain_one(value) for value in args) if isinstance(args, tuple) else args


def _plain_one(value: object) -> object:
    return value if type(value) in _SAFE else text_of(value, LONGEST_LINE)


_ring = Ring()


def install(logger: logging.Logger | None = None) -> None:
    """Start keeping the lines of `logger` (the root logger by default); doing it twice is one."""
    target = logger or logging.getLogger()
    if _ring not in target.handlers:
        target.addHandler(_ring)


def last_lines() -> list[JsonValue]:
    """Return the kept lines, oldest first."""
    return [
        {
            "at": datetime.fromtimestamp(created, UTC).isoformat(),
            "level": level,
            "logger": name,
            "text": text,
        }
        for created, level, name, text in list(_ring.lines)
    ]
