"""The first page: verdict, what it rests on, what was found and what nobody could see."""

from __future__ import annotations

from collections.abc import Iterator

from homeostat.stress.layout import NOT_TESTED, Section, Table, shown
from homeostat.stress.report import Report


def section(report: Report) -> Section:
    """Show the first page."""
    fed = report.input
    fed_with = f"{fed.kind} (seed {fed.seed})" if fed.kind == "generator" else fed.source
    words = [
        f"Verdict: **{report.verdict}** · grade: {report.grade}",
        f"Risk: {report.risk}",
        (
            f"Input: {fed_with}, {shown(fed.symbols)} symbols; run seed {fed.run_seed}; "
            f"{report.minutes:g} minutes; revision {report.revision}."
        ),
    ]
    tables = [
        Table(["rests on"], [[line] for line in report.rests_on]),
        Table(
            ["culprit", "what was found", "weight", "section"],
            [[f.culprit, f.what, f.weight.value, f.section] for f in report.findings],
            "Findings" if report.findings else "Findings: none",
        ),
        Table(
            ["row", "why", "required"],
            # A word, because a cross would read as something that failed.
            [[row.row, row.reason, "yes" if row.required else "no"] for row in report.not_tested],
            NOT_TESTED if report.not_tested else f"{NOT_TESTED}: nothing",
        ),
    ]
    return Section("Executive summary", words, tables)


def headline(report: Report) -> Iterator[str]:
    """Yield the lines that a terminal shows at the end."""
    yield f"{report.verdict} · grade {report.grade}"
    yield report.risk
    yield from report.rests_on
    for finding in report.findings:
        yield f"{finding.weight}: {finding.culprit} — {finding.what}"
    for row in report.not_tested:
        if row.required:
            yield f"{NOT_TESTED}: {row.row} — {row.reason}"
