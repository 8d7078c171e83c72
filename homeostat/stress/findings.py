"""What a rule may say of a section: what was found, or that nobody could look."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from homeostat.stress.facts import Record


class Verdict(StrEnum):
    """What the run proves."""

    STABLE = "STABLE"
    DEGRADED = "DEGRADED"
    UNSTABLE = "UNSTABLE"
    INCONCLUSIVE = "INCONCLUSIVE"


class Finding(Record):
    """One reason why the verdict is not STABLE: who, what was seen, and how bad it is."""

    culprit: str
    what: str
    weight: Verdict
    section: str


class NotTested(Record):
    """A row for which there is no evidence; `required` ones make the report INCONCLUSIVE."""

    row: str
    reason: str
    required: bool


#: What a rule yields, in any number; nothing at all is a pass.
Said = Iterator[Finding | NotTested]


def finding(culprit: str, what: str, weight: Verdict, section: str) -> Finding:
    """Return the finding."""
    return Finding(culprit=culprit, what=what, weight=weight, section=section)


def untested(row: str, reason: str, *, required: bool = True) -> NotTested:
    """Return the row without evidence."""
    return NotTested(row=row, reason=reason, required=required)
