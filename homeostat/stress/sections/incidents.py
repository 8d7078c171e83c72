"""Incidents and repairs of the window."""

from __future__ import annotations

from homeostat.stress.facts import Facts
from homeostat.stress.findings import Said, Verdict, finding, untested
from homeostat.stress.layout import NOT_TESTED, Section, Table, quantile_table, shown
from homeostat.stress.report import Report
from homeostat.stress.sections.throughput import over_target


def judge(facts: Facts) -> Said:
    """Find failures that nobody recognised, slow analyses, incidents left open."""
    found = facts.incidents
    if found is None:
        yield untested("incidents", "they were not read")
        return
    if not found.drills_raised or found.drills_recognised is None:
        yield untested("incidents: recognition", "no known failure was raised")
    elif found.drills_recognised < found.drills_raised:
        what = (
            f"{found.drills_raised - found.drills_recognised} of {found.drills_raised} known "
            "failures became no incident: somebody swallows them"
        )
        yield finding("error recognition", what, Verdict.UNSTABLE, "incidents")
    for name, quantiles in (
        ("failure → incident row", found.failure_to_row),
        ("failure → analysis started", found.failure_to_analysis),
    ):
        if quantiles is None:
            yield untested(f"incidents: {name}", "no such pair of times was recorded")
        else:
            yield from over_target(name, quantiles, "incidents")
    for row in found.rows:
        if not row.explained_by and row.state != "resolved":
            what = f"left the incident {row.label} in state {row.state}"
            yield finding(row.component, what, Verdict.DEGRADED, "incidents")


def section(report: Report) -> Section:
    """Show times and every incident."""
    found = report.incidents
    if found is None:
        return Section("Incidents and repairs", [NOT_TESTED])
    words = [
        (
            f"{found.opened} opened, {found.resolved} resolved, {found.escalated} escalated, "
            f"{found.unexplained_open} open without explanation. Known failures raised: "
            f"{shown(found.drills_raised)}, recognised: {shown(found.drills_recognised)}."
        ),
        (
            f"Time to first fix: {shown(found.first_fix_s)} s; to a repeat fix: "
            f"{shown(found.repeat_fix_s)} s; knowledge: {shown(found.knowledge_before)} → "
            f"{shown(found.knowledge_after)} records."
        ),
    ]
    times = quantile_table(
        [
            ("failure → incident row", found.failure_to_row),
            ("failure → analysis started", found.failure_to_analysis),
        ]
    )
    rows = [
        [
            r.label,
            r.component,
            r.source,
            r.state,
            r.occurrences,
            r.route or "–",
            r.fix or "–",
            r.proof or "–",
            r.explained_by or "nothing",
        ]
        for r in found.rows
    ]
    headers = ["incident", "component", "source", "state", "times", "route", "fix", "proof"]
    return Section("Incidents and repairs", words, [times, Table([*headers, "explained by"], rows)])
