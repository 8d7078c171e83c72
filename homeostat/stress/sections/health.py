"""Each component under load, with its evidence: the task health and the matrix."""

from __future__ import annotations

from homeostat.component import State
from homeostat.stress.facts import ComponentRow, Facts
from homeostat.stress.findings import Finding, Said, Verdict, untested
from homeostat.stress.layout import Cell, Section, Table
from homeostat.stress.report import Report


def judge(facts: Facts) -> Said:
    """Find components that are not RUNNING, cycles without work, probes that cannot fail."""
    if not facts.components:
        yield untested("components", "no component was observed")
    for name in facts.unscheduled:
        yield Finding(
            culprit=name,
            what="no beat entry checks it",
            weight=Verdict.DEGRADED,
            section="components",
        )
    for row in facts.components:
        yield from _component(row)


def _component(row: ComponentRow) -> Said:
    if row.state is State.UNKNOWN:
        yield untested(f"components: {row.name}", f"its state is UNKNOWN ({row.reason})")
    elif row.state is not State.RUNNING:
        weight = Verdict.UNSTABLE if row.state is State.FAILED else Verdict.DEGRADED
        yield _of(row, f"is {row.state}: {row.reason}", weight)
    yield from _cycles(row)
    if row.probe_can_fail is None:
        yield untested(f"components: {row.name}: probe", "its probe had no control")
    elif not row.probe_can_fail:
        what = "its probe passes where it must fail, so that nothing it reports is proven"
        yield _of(row, what, Verdict.DEGRADED)


def _cycles(row: ComponentRow) -> Said:
    if row.crashes:
        yield _of(row, f"crashed {row.crashes} times", Verdict.UNSTABLE)
    if row.failed_cycles:
        yield _of(row, f"{row.failed_cycles} cycles failed outside any fault", Verdict.DEGRADED)
    if row.loop_active is None:
        yield untested(f"components: {row.name}: loop active", "no cycle was observed")
    elif not row.loop_active:
        yield _of(row, "its loop is not active", Verdict.DEGRADED)
    if row.empty_cycles:
        what = f"{row.empty_cycles} of {row.cycles} cycles say nothing of what they did"
        yield _of(row, what, Verdict.DEGRADED)
    if row.cycles and row.left == 0:
        yield _of(row, f"its {row.cycles} cycles left nothing behind", Verdict.DEGRADED)


def _of(row: ComponentRow, what: str, weight: Verdict) -> Finding:
    return Finding(culprit=row.name, what=what, weight=weight, section="components")


def section(report: Report) -> Section:
    """Show the task health of every component."""
    rows: list[list[Cell]] = [
        [
            row.name,
            row.state.value,
            row.loop_active,
            row.error_free,
            row.interval_s,
            row.last_activity_s,
            row.probe_can_fail,
            "; ".join(f"{key} {value}" for key, value in row.evidence.items()),
        ]
        for row in report.components
    ]
    headers = [
        "component",
        "state",
        "loop active",
        "error-free",
        "interval s",
        "last activity s ago",
        "probe fails where it must",
        "evidence",
    ]
    return Section("Task health", tables=[Table(headers, rows)])


def matrix(report: Report) -> Section:
    """Show what each component stood, in one line each."""
    headers = ["subsystem", "RUNNING", "STABLE_UNDER_LOAD", "ANY_CRASHES", "cycles", "notes"]
    return Section(
        "Per-subsystem matrix", tables=[Table(headers, [_matrix_row(r) for r in report.components])]
    )


def _matrix_row(row: ComponentRow) -> list[Cell]:
    running = row.state.value == "RUNNING"
    crashes = f"✗ {row.crashes}" if row.crashes else "✓ none"
    return [row.name, running, row.stable_under_load, crashes, row.cycles, row.notes]
