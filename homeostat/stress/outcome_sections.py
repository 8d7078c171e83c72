"""The second half of the report's sections: flow, chaos, incidents, matrix, hardening."""

from __future__ import annotations

from collections.abc import Iterator

from homeostat.chaos.scenario import Outcome, Proof, ScenarioResult
from homeostat.stress.layout import NOT_TESTED, Cell, Section, Table, quantile_table, shown
from homeostat.stress.report import ComponentRow, Report


def flow(report: Report) -> Section:
    """Return the section."""
    hooks = Table(
        ["hook", "fired", "evidence"],
        [[row.hook, row.fired, row.evidence] for row in report.hooks],
        "The nine hooks, by the canary",
    )
    rows = [
        [outcome, rule, count]
        for outcome, rules in report.decisions.items()
        for rule, count in sorted(rules.items(), key=lambda item: -item[1])
    ]
    tables = [hooks, Table(["decision", "rule", "count"], rows), *_book(report)]
    return Section("Trade flow", tables=tables, plots=["equity"])


def _book(report: Report) -> list[Table]:
    """Return the tables of the book: its orders and the positions that it held."""
    book = report.book
    if book is None:
        return []
    orders = Table(
        ["order", "count"], [[name, n] for name, n in book.orders.items()], "Orders of the window"
    )
    headers = ["symbol", "side", "quantity", "entry", "mark", "label", "realised", "closed by"]
    rows: list[list[Cell]] = [
        [
            one.symbol,
            "long" if one.side > 0 else "short",
            f"{one.quantity:.6g}",
            f"{one.entry:.6g}",
            f"{one.mark:.6g}",
            one.label,
            f"{one.realised:.2f}",
            one.exit_rule or "open",
        ]
        for one in book.positions
    ]
    return [orders, Table(headers, rows, f"Positions of the {book.book} book, newest first")]


def chaos(report: Report) -> Section:
    """Return the section."""
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


def incidents(report: Report) -> Section:
    """Return the section."""
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


def matrix(report: Report) -> Section:
    """Return the section."""
    headers = ["subsystem", "RUNNING", "STABLE_UNDER_LOAD", "ANY_CRASHES", "cycles", "notes"]
    return Section(
        "Per-subsystem matrix", tables=[Table(headers, [_matrix_row(r) for r in report.components])]
    )


def _matrix_row(row: ComponentRow) -> list[Cell]:
    running = row.state.value == "RUNNING"
    crashes = f"✗ {row.crashes}" if row.crashes else "✓ none"
    return [row.name, running, row.stable_under_load, crashes, row.cycles, row.notes]


def hardening(report: Report) -> Section:
    """Return the section."""
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
