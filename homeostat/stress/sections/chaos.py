"""The scenarios, each with its control."""

from __future__ import annotations

from homeostat.chaos.scenario import Outcome, Proof, ScenarioResult
from homeostat.stress.facts import Facts
from homeostat.stress.findings import Said, Verdict, finding, untested
from homeostat.stress.layout import NOT_TESTED, Cell, Section, Table
from homeostat.stress.report import Report

#: Without these no verdict is possible: a child, a main process and the broker killed.
REQUIRED_SCENARIOS = ("P1", "P2", "B1")


def judge(facts: Facts) -> Said:
    """Find scenarios that failed or have no failing control."""
    ran = {result.id for result in facts.chaos}
    for missing in (name for name in REQUIRED_SCENARIOS if name not in ran):
        yield untested(f"chaos: {missing}", "it was not run")
    for result in facts.chaos:
        yield from _scenario(result)


def _scenario(result: ScenarioResult) -> Said:
    row, why = f"chaos: {result.id}", "; ".join(result.reasons) or "no reason was recorded"
    if result.outcome is Outcome.FAIL:
        yield finding(result.id, f"{result.title}: {why}", Verdict.UNSTABLE, "chaos")
    elif result.outcome is not Outcome.PASS:
        required = result.outcome is Outcome.INVALID or result.id in REQUIRED_SCENARIOS
        yield untested(row, f"{result.outcome}: {why}", required=required)
    elif result.control is None or not result.control.failed_as_it_must:
        yield untested(row, "it has no failing control, so that its PASS proves nothing")
    if result.rolled_back is not None and not result.rolled_back.held:
        what = f"its fault was not taken back whole: {result.rolled_back.observed['problems']}"
        yield finding(result.id, what, Verdict.DEGRADED, "chaos")
    for count, word in ((result.lost, "lost"), (result.doubled, "doubled")):
        if count:
            what = f"{count} effects were {word}"
            yield finding(result.id, what, Verdict.UNSTABLE, "chaos")


def section(report: Report) -> Section:
    """Show every scenario."""
    headers = [
        "scenario",
        "wave",
        "outcome",
        "happened",
        "noticed",
        "healed",
        "lost",
        "doubled",
        "detect s",
        "restart s",
        "first effect s",
        "drained s",
        "heal s",
        "bound s",
        "control failed as it must",
    ]
    rows = [_scenario_row(result) for result in report.chaos]
    words = [
        f"{result.id} {result.outcome}: {'; '.join(result.reasons)}"
        for result in report.chaos
        if result.outcome is not Outcome.PASS
    ]
    words += [
        f"Forensics of {result.id}: `{result.forensics}`"
        for result in report.chaos
        if result.forensics
    ]
    return Section("Chaos", words or [NOT_TESTED], [Table(headers, rows)], ["chaos"])


def _scenario_row(result: ScenarioResult) -> list[Cell]:
    return [
        f"{result.id} {result.title}",
        result.wave,
        result.outcome.value,
        _held(result.happened),
        _held(result.noticed),
        _held(result.healed),
        result.lost,
        result.doubled,
        result.detect_s,
        result.restart_s,
        result.first_effect_s,
        result.drained_s,
        result.heal_s,
        result.bound_s,
        result.control.failed_as_it_must if result.control else None,
    ]


def _held(proof: Proof | None) -> bool | None:
    return None if proof is None else proof.held
