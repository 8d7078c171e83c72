"""What would make the system harder, and this run beside the one before."""

from __future__ import annotations

from homeostat.stress.layout import Section, Table
from homeostat.stress.report import Report


def section(report: Report) -> Section:
    """Show suggestions and the comparison."""
    tables = [
        Table(
            ["priority", "what", "why"],
            [[s.priority, s.what, s.why] for s in report.hardening],
            "Suggestions that follow from the figures" if report.hardening else "No suggestion",
        )
    ]
    words = []
    if report.comparison is None:
        words.append("There is no earlier run in this state folder to compare with.")
    else:
        old = report.comparison
        words.append(
            f"Compared with {old.previous_id} of {old.previous_started_at:%Y-%m-%d %H:%M}."
        )
        rows = [[c.figure, _plain(c.before), _plain(c.now)] for c in old.changes]
        tables.append(Table(["figure", "before", "now"], rows))
    return Section("Hardening and comparison", words, tables)


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
