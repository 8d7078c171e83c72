"""The report's sections in order; the second half stands in `outcome_sections`."""

from __future__ import annotations

from datetime import datetime

from homeostat.stress import outcome_sections as outcomes
from homeostat.stress.layout import NOT_TESTED, Cell, Section, Table, quantile_table, shown
from homeostat.stress.report import Report


def sections(report: Report) -> list[Section]:
    """Return the report's sections in order."""
    return [
        _summary(report),
        _boot(report),
        _health(report),
        _cadence(report),
        _throughput(report),
        _exceptions(report),
        outcomes.flow(report),
        outcomes.chaos(report),
        outcomes.incidents(report),
        outcomes.matrix(report),
        outcomes.hardening(report),
    ]


def _summary(report: Report) -> Section:
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


def _boot(report: Report) -> Section:
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


def _health(report: Report) -> Section:
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


def _cadence(report: Report) -> Section:
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


def _throughput(report: Report) -> Section:
    load = report.throughput
    if load is None:
        return Section("Throughput and latency", [NOT_TESTED])
    told = [
        [
            load.told_ok,
            load.told_failed,
            load.told_unknown,
            load.effects,
            load.lost,
            load.doubled,
            load.effects_per_s,
            load.checks_per_s,
            load.drained_s,
        ]
    ]
    headers = [
        "told ok",
        "told failed",
        "told unknown",
        "effects",
        "lost",
        "doubled",
        "effects/s",
        "checks/s",
        "drained s",
    ]
    latency = quantile_table(load.latency.items())
    return Section(
        "Throughput and latency",
        tables=[Table(headers, told, "Producers' history against the effects ledger"), latency],
        plots=["throughput", "latency"],
    )


def _exceptions(report: Report) -> Section:
    digests = Table(
        ["signature", "type", "component", "count", "escalating", "explained by"],
        [
            [d.signature, d.type, d.component, d.count, d.escalating, d.explained_by or "nothing"]
            for d in report.exceptions or ()
        ],
        NOT_TESTED if report.exceptions is None else "Exceptions by signature",
    )
    logs = report.logs
    words = [
        "Log: " + NOT_TESTED
        if logs is None
        else f"Log: {logs.lines} lines ({logs.lines_per_minute:.0f} a minute), {logs.errors} error "
        f"lines, {len(logs.unaccounted)} of them without an incident."
    ]
    memory = Table(
        ["process", "role", "samples", "seconds", "first MB", "last MB", "peak MB", "MB/min"],
        [
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
        ],
        "Memory per process",
    )
    feeds = Table(
        ["feed", "snapshots", "distinct", "newest s", "stale", "evidence"],
        [
            [f.feed, f.snapshots, f.distinct, f.newest_age_s, f.stale, f.evidence]
            for f in report.freshness
        ],
        "Freshness",
    )
    return Section(
        "Exceptions, logs, memory, freshness", words, [digests, memory, feeds], ["memory"]
    )


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}"
