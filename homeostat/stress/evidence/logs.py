"""The log's rate in the window, and the error lines that no incident accounts for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from homeostat.chaos.forensics import written_since
from homeostat.incidents.redaction import redactor
from homeostat.stress.evidence.window import Window
from homeostat.stress.facts import LogFacts

#: An exception's last line as Python prints it: `module.SomeError: message`.
_RAISED = re.compile(r"^(?:[A-Za-z_]\w*\.)*([A-Z]\w*(?:Error|Exception|Exit|Interrupt|Lost))\b")
#: How most lines begin, in local time: `[2026-01-02 03:04:05,678: …`.
_STAMP = re.compile(r"^\[?(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)")
_ERROR = re.compile(r"\b(?:ERROR|CRITICAL)\b")
#: How many lines the report names, and how much of each.
NAMED = 10
_LONGEST = 240


def gather(
    folder: Path, before: Mapping[str, int], window: Window, known_types: Sequence[str]
) -> LogFacts:
    """Read what was logged since `before`.

    An exception in the log is accounted for when an incident has its type, or when it was logged
    while a declared fault was in force.
    """
    known = {name.rpartition(".")[2] for name in known_types}
    lines = errors = 0
    unaccounted: dict[str, None] = {}
    for _, text in written_since(folder, before):
        moment: datetime | None = None
        for line in text.splitlines():
            lines += 1
            errors += bool(_ERROR.search(line))
            raised = _RAISED.match(line)
            if stamped := _STAMP.match(line):
                moment = datetime.fromisoformat(stamped[1]).astimezone(UTC)
            shadow = moment is not None and window.fault_at(moment)
            if raised and raised[1] not in known and not shadow:
                unaccounted[redactor().text(line)[:_LONGEST]] = None
    return LogFacts(
        lines=lines,
        lines_per_minute=round(lines / window.seconds * 60, 1),
        errors=errors,
        unaccounted=list(unaccounted)[:NAMED],
    )
