"""How the boot went."""

from __future__ import annotations

from homeostat.component import State
from homeostat.stress.facts import Facts
from homeostat.stress.findings import Finding, Said, Verdict, untested
from homeostat.stress.layout import NOT_TESTED, Cell, Section, Table
from homeostat.stress.report import Report


def judge(facts: Facts) -> Said:
    """Find a component that did not boot to RUNNING."""
    if facts.boot is None:
        yield untested("boot", "the boot was not observed")
        return
    for row in (*facts.boot.components, *facts.boot.subsystems):
        if row.state != State.RUNNING:
            what = f"booted {row.state} after {row.tries} tries: {row.error or 'no reason given'}"
            yield Finding(culprit=row.name, what=what, weight=Verdict.DEGRADED, section="boot")


def section(report: Report) -> Section:
    """Show the tiers and every component."""
    boot = report.boot
    if boot is None:
        return Section("Boot", [NOT_TESTED])
    words = [f"{boot.running} of {boot.total} components running after {boot.seconds:.1f} s."]
    tiers = Table(
        ["tier", "running", "total", "seconds"],
        [[row.tier, row.running, row.total, row.seconds] for row in boot.tiers],
    )
    rows: list[list[Cell]] = [
        [r.name, r.tier, r.state, r.seconds, r.tries, r.error]
        for r in (*boot.components, *boot.subsystems)
    ]
    each = Table(["component", "tier", "state", "seconds", "tries", "failure"], rows)
    return Section("Boot", words, [tiers, each])
