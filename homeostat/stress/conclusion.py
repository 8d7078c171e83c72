"""What follows from a judgement: grade, risk, what it rests on, suggestions, comparison."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import JsonValue, ValidationError

from homeostat.chaos.scenario import Outcome
from homeostat.stress.facts import Facts
from homeostat.stress.findings import Verdict
from homeostat.stress.report import Change, Comparison, Report, Suggestion
from homeostat.stress.verdict import Judgement, judge

#: A recovery that used up more of its bound than this leaves too little for a slower machine.
TIGHT = 0.7
#: Log lines a minute above which a person no longer reads along (the seed's log spam was 58).
MANY_LINES = 600


def conclude(facts: Facts, previous: Report | None = None) -> Report:
    """Return the report: the facts, their verdict and everything derived from both."""
    judgement = judge(facts)
    return Report(
        **dict(facts),
        verdict=judgement.verdict,
        grade=_grade(judgement),
        risk=_risk(judgement),
        rests_on=list(_rests_on(facts)),
        findings=judgement.findings,
        not_tested=judgement.not_tested,
        hardening=sorted(_suggestions(facts, judgement), key=_rank),
        comparison=compare(previous, facts, judgement.verdict) if previous else None,
    )


def _grade(judgement: Judgement) -> str:
    if judgement.verdict is Verdict.INCONCLUSIVE:
        return "none (a grade needs every required row tested)"
    if judgement.verdict is Verdict.STABLE:
        return "A-" if judgement.not_tested else "A"
    proven = sum(finding.weight is Verdict.UNSTABLE for finding in judgement.findings)
    if proven:
        return "D" if proven == 1 else "F"
    return "B" if len(judgement.findings) <= 2 else "C"


def _risk(judgement: Judgement) -> str:
    proven = [one for one in judgement.findings if one.weight is Verdict.UNSTABLE]
    required = [row for row in judgement.not_tested if row.required]
    if proven:
        names = ", ".join(sorted({finding.culprit for finding in proven}))
        return f"HIGH: {len(proven)} proven failures ({names})."
    if required:
        return f"UNKNOWN: {len(required)} required rows are NOT TESTED."
    if judgement.findings:
        names = ", ".join(sorted({finding.culprit for finding in judgement.findings}))
        return f"MEDIUM: {len(judgement.findings)} weaknesses ({names})."
    return (
        "LOW within what was tested: these faults, this load and this length. "
        "0 failures in n repeats bound a failure's rate only near 3/n."
    )


def _rests_on(facts: Facts) -> Iterator[str]:
    if facts.boot:
        yield f"boot: {facts.boot.running} of {facts.boot.total} in {facts.boot.seconds:.1f} s"
    expected = sum(row.expected for row in facts.cadence)
    ran = sum(row.run - row.off_grid for row in facts.cadence)
    in_fault = sum(row.missed_in_fault for row in facts.cadence)
    yield (
        f"cadence: {ran} of {expected} expected ticks ran, {in_fault} fell into a declared fault, "
        f"{sum(row.missed for row in facts.cadence)} missed, "
        f"{sum(row.doubled for row in facts.cadence)} doubled"
    )
    if load := facts.throughput:
        yield (
            f"ledger: {load.told_ok} jobs accepted, {load.effects} effects, {load.lost} lost, "
            f"{load.doubled} doubled"
        )
    fired = sum(bool(row.fired) for row in facts.hooks)
    yield f"trade flow: {fired} of {len(facts.hooks)} hooks fired by the canary"
    passed = sum(result.outcome is Outcome.PASS for result in facts.chaos)
    controls = sum(bool(r.control and r.control.failed_as_it_must) for r in facts.chaos)
    yield (
        f"chaos: {passed} of {len(facts.chaos)} scenarios passed, {controls} with a control that "
        "failed as it must"
    )
    if facts.incidents and (analysis := facts.incidents.failure_to_analysis):
        yield f"incidents: failure → analysis started p99 {analysis.p99_ms:.0f} ms"


def _rank(suggestion: Suggestion) -> int:
    return ("CRITICAL", "HIGH", "MEDIUM", "LOW").index(suggestion.priority)


def _suggestions(facts: Facts, judgement: Judgement) -> Iterator[Suggestion]:
    for finding in judgement.findings:
        priority = "CRITICAL" if finding.weight is Verdict.UNSTABLE else "HIGH"
        yield _suggest(priority, f"Mend {finding.culprit} ({finding.section})", finding.what)
    for result in facts.chaos:
        if result.heal_s is not None and result.heal_s > TIGHT * result.bound_s:
            why = f"steady state after {result.heal_s:.1f} s of {result.bound_s:.0f} s allowed"
            yield _suggest("MEDIUM", f"Make the recovery of {result.id} faster", why)
    for row in facts.cadence:
        if row.late and not row.missed:
            why = (
                f"{row.late} of {row.expected} ticks late, at most {row.lateness_max_s or 0:.1f} s"
            )
            yield _suggest("LOW", f"Give {row.entry} more room (concurrency or interval)", why)
    if facts.logs and facts.logs.lines_per_minute > MANY_LINES:
        why = f"{facts.logs.lines_per_minute:.0f} lines a minute"
        yield _suggest("LOW", "Log less: digests instead of lines", why)
    skipped = [result.id for result in facts.chaos if result.outcome is Outcome.SKIPPED]
    if skipped:
        why = "skipped here: " + ", ".join(skipped)
        yield _suggest("MEDIUM", "Run the skipped scenarios where they can run", why)
    loose = [row for row in judgement.not_tested if not row.required]
    if loose:
        why = f"{len(loose)} optional rows are NOT TESTED, such as {loose[0].row}"
        yield _suggest("LOW", "Run longer, so that slow entries come due", why)


def _suggest(priority: str, what: str, why: str) -> Suggestion:
    return Suggestion(priority=priority, what=what, why=why)


def load_previous(folder: Path, before: str) -> Report | None:
    """Return the newest readable report in the folder that is older than `before` (an id)."""
    for path in sorted(folder.glob("*/report.json"), reverse=True):
        if path.parent.name >= before:
            continue
        try:
            return Report.model_validate_json(path.read_bytes())
        except (ValidationError, OSError):
            continue  # A report of an older shape cannot be compared with.
    return None


def compare(previous: Report, facts: Facts, verdict: Verdict) -> Comparison:
    """Put this run's main figures beside those of the run before."""
    before, now = dict(_figures(previous)), dict(_figures(facts))
    changes = [
        Change(figure=name, before=before.get(name), now=value)
        for name, value in now.items()
        if before.get(name) is not None
    ]
    changes.insert(0, Change(figure="verdict", before=previous.verdict, now=verdict))
    return Comparison(
        previous_id=previous.id,
        previous_started_at=previous.started_at,
        previous_verdict=previous.verdict,
        changes=changes,
    )


def _figures(facts: Facts) -> Iterator[tuple[str, JsonValue]]:
    if facts.boot:
        yield "boot seconds", round(facts.boot.seconds, 2)
    if load := facts.throughput:
        yield "effects per second", round(load.effects_per_s, 2)
        for name, quantiles in load.latency.items():
            yield f"{name} p99 ms", round(quantiles.p99_ms, 1)
    if facts.incidents and (analysis := facts.incidents.failure_to_analysis):
        yield "failure → analysis p99 ms", round(analysis.p99_ms, 1)
    for result in facts.chaos:
        if result.heal_s is not None:
            yield f"{result.id} heal seconds", round(result.heal_s, 2)
    yield "ticks late", sum(row.late for row in facts.cadence)
    yield "peak memory MB", round(sum(row.peak_mb for row in facts.memory), 1)
