"""The ledger of ticks: expected, run, late, missed, doubled."""

from __future__ import annotations

from datetime import datetime

from homeostat.stress.facts import CadenceRow, Facts
from homeostat.stress.findings import Finding, Said, Verdict, untested
from homeostat.stress.layout import Cell, Section, Table
from homeostat.stress.report import Report

#: More late ticks than this share of an entry's expected ones is a loop that does not keep up.
MOST_LATE = 0.1


def judge(facts: Facts) -> Said:
    """Find ticks that were missed, doubled, late or off their grid."""
    if not any(row.expected for row in facts.cadence):
        yield untested("cadence", "no tick was due in the window")
    for row in facts.cadence:
        if row.expected:
            yield from _entry(row)
        elif row.off_grid:
            yield _beat(row, f"ran {row.off_grid} times when it was not due", Verdict.DEGRADED)
        else:
            reason = f"not due: its interval of {row.interval_s:g} s is longer than the window"
            yield untested(f"cadence: {row.entry}", reason, required=False)


def _entry(row: CadenceRow) -> Said:
    on_grid = row.run - row.off_grid
    if on_grid + row.missed + row.missed_in_fault != row.expected:
        what = (
            f"its ledger does not add up: {row.expected} expected, {on_grid} run, "
            f"{row.missed} missed, {row.missed_in_fault} missed in a fault"
        )
        yield _beat(row, what, Verdict.UNSTABLE)
    if row.missed:
        never = not row.run and not row.missed_in_fault
        what = "never fired" if never else f"missed {row.missed} of {row.expected} ticks"
        yield _beat(row, what, Verdict.UNSTABLE if never else Verdict.DEGRADED)
    if row.doubled:
        yield _beat(row, f"fired {row.doubled} ticks twice", Verdict.DEGRADED)
    if row.off_grid:
        yield _beat(row, f"ran {row.off_grid} times when it was not due", Verdict.DEGRADED)
    if row.overrun:
        what = f"{row.overrun} ticks started only after the next one was due"
        yield _beat(row, what, Verdict.DEGRADED)
    # One late tick inside its own interval is a moment, whatever its share; a loop that does not
    # keep up has more.
    if row.late > max(1, MOST_LATE * row.expected):
        yield _beat(row, f"{row.late} of {row.expected} ticks were late", Verdict.DEGRADED)


def _beat(row: CadenceRow, what: str, weight: Verdict) -> Finding:
    return Finding(culprit=row.entry, what=what, weight=weight, section="cadence")


def section(report: Report) -> Section:
    """Show every entry of the timetable."""
    headers = [
        "entry",
        "interval s",
        "expected",
        "run",
        "late",
        "overrun",
        "missed",
        "doubled",
        "off grid",
        "in a fault: late / missed / doubled",
        "worst lateness s",
    ]
    rows: list[list[Cell]] = [
        [
            row.entry,
            row.interval_s,
            row.expected,
            row.run,
            row.late,
            row.overrun,
            row.missed,
            row.doubled,
            row.off_grid,
            f"{row.late_in_fault} / {row.missed_in_fault} / {row.doubled_in_fault}",
            "–" if row.lateness_max_s is None else row.lateness_max_s,
        ]
        for row in report.cadence
    ]
    words = [
        (
            "Expected ticks are counted from the timetable between "
            f"{_clock(report.load_started_at)} and {_clock(report.load_ended_at)} UTC, run ones "
            "from the rows that the workers wrote. An entry with 0 expected was not due."
        )
    ]
    return Section("Cadence ledger", words, [Table(headers, rows)], ["lateness"])


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}"
