"""The stress report: the facts, and what follows from them."""

from __future__ import annotations

from datetime import datetime

from pydantic import JsonValue

from homeostat.stress.facts import Facts, Record
from homeostat.stress.findings import Finding, NotTested, Verdict

#: The exit code of `homeostat stress` for each verdict; only STABLE is success.
EXIT_CODES = {
    Verdict.STABLE: 0,
    Verdict.DEGRADED: 10,
    Verdict.UNSTABLE: 11,
    Verdict.INCONCLUSIVE: 12,
}


class Suggestion(Record):
    """One hardening suggestion and the figure that it follows from."""

    priority: str
    what: str
    why: str


class Change(Record):
    """One figure beside that of the run before."""

    figure: str
    before: JsonValue
    now: JsonValue


class Comparison(Record):
    """This run beside the one before it in the same state folder."""

    previous_id: str
    previous_started_at: datetime
    previous_verdict: Verdict
    changes: list[Change]


class Report(Facts):
    """The facts and what follows from them."""

    verdict: Verdict
    grade: str
    risk: str
    rests_on: list[str]
    findings: list[Finding]
    not_tested: list[NotTested]
    hardening: list[Suggestion]
    comparison: Comparison | None = None
