"""The trade flow: its nine hooks, its decisions, its book."""

from __future__ import annotations

from homeostat.stress.facts import Facts
from homeostat.stress.findings import Said, Verdict, finding, untested
from homeostat.stress.layout import Cell, Section, Table
from homeostat.stress.report import Report

#: The flow's nine hooks, in the order of `spec/trading.md`'s trade flow.
HOOKS = 9


def judge(facts: Facts) -> Said:
    """Find hooks that no canary fired."""
    if len({row.hook for row in facts.hooks}) < HOOKS:
        reason = f"{len(facts.hooks)} of {HOOKS} hooks were looked at"
        yield untested("hooks", reason)
    for row in facts.hooks:
        if row.fired is None:
            yield untested(f"hooks: {row.hook}", "no canary trade ran to its end")
        elif not row.fired:
            yield finding(row.hook, "did not fire in any canary", Verdict.UNSTABLE, "hooks")


def section(report: Report) -> Section:
    """Show hooks, decisions, orders and positions."""
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
