"""What went wrong on the way: exceptions, log lines, memory, feeds that stand still."""

from __future__ import annotations

from homeostat.stress.facts import Facts
from homeostat.stress.findings import Said, Verdict, finding, untested
from homeostat.stress.layout import NOT_TESTED, Cell, Section, Table
from homeostat.stress.report import Report


def judge(facts: Facts) -> Said:
    """Say what is wrong with exceptions, logs, memory and feeds."""
    yield from _exceptions(facts)
    yield from _memory(facts)
    yield from _freshness(facts)


def _exceptions(facts: Facts) -> Said:
    if facts.exceptions is None:
        yield untested("exceptions", "the incidents were not read")
    for digest in facts.exceptions or ():
        if digest.explained_by:
            continue
        word = "escalating" if digest.escalating else "not escalating"
        what = f"{digest.type} × {digest.count}, {word} ({digest.signature})"
        weight = Verdict.UNSTABLE if digest.escalating else Verdict.DEGRADED
        yield finding(digest.component, what, weight, "exceptions")
    if facts.logs is None:
        yield untested("logs", "the logs were not read")
    for line in facts.logs.unaccounted if facts.logs else ():
        what = f"an error stands in the log that no incident accounts for: {line}"
        yield finding("logs", what, Verdict.DEGRADED, "exceptions")


def _memory(facts: Facts) -> Said:
    if not facts.memory:
        yield untested("memory", "no process was sampled")
    judged = {row.role for row in facts.memory if row.leaking is not None}
    for role in sorted({row.role for row in facts.memory} - judged):
        yield untested(f"memory: {role}", "no process of that role lived long enough for a slope")
    for row in facts.memory:
        if row.leaking:
            what = f"grows by {row.slope_mb_per_min:.1f} MB/min ({row.first_mb:.0f} → "
            what += f"{row.last_mb:.0f} MB in {row.seconds:.0f} s)"
            yield finding(row.process, what, Verdict.DEGRADED, "memory")


def _freshness(facts: Facts) -> Said:
    if not facts.freshness:
        yield untested("freshness", "no feed was looked at")
    for row in facts.freshness:
        if row.stale is None:
            yield untested(f"freshness: {row.feed}", row.evidence or "too few snapshots")
        elif row.stale:
            what = f"is stale: {row.distinct} distinct of {row.snapshots} snapshots; {row.evidence}"
            yield finding(row.feed, what, Verdict.DEGRADED, "freshness")


def section(report: Report) -> Section:
    """Show digests, log, memory and feeds."""
    logs = report.logs
    words = [
        "Log: " + NOT_TESTED
        if logs is None
        else f"Log: {logs.lines} lines ({logs.lines_per_minute:.0f} a minute), {logs.errors} error "
        f"lines, {len(logs.unaccounted)} of them without an incident."
    ]
    tables = [_digest_table(report), _memory_table(report), _feed_table(report)]
    return Section("Exceptions, logs, memory, freshness", words, tables, ["memory"])


def _digest_table(report: Report) -> Table:
    return Table(
        ["signature", "type", "component", "count", "escalating", "explained by"],
        [
            [d.signature, d.type, d.component, d.count, d.escalating, d.explained_by or "nothing"]
            for d in report.exceptions or ()
        ],
        NOT_TESTED if report.exceptions is None else "Exceptions by signature",
    )


def _memory_table(report: Report) -> Table:
    headers = ["process", "role", "samples", "seconds", "first MB", "last MB", "peak MB", "MB/min"]
    rows: list[list[Cell]] = [
        [
            m.process,
            m.role,
            m.samples,
            m.seconds,
            m.first_mb,
            m.last_mb,
            m.peak_mb,
            m.slope_mb_per_min,
        ]
        for m in report.memory
    ]
    return Table(headers, rows, "Memory per process")


def _feed_table(report: Report) -> Table:
    return Table(
        ["feed", "snapshots", "distinct", "newest s", "stale", "evidence"],
        [
            [f.feed, f.snapshots, f.distinct, f.newest_age_s, f.stale, f.evidence]
            for f in report.freshness
        ],
        "Freshness",
    )
