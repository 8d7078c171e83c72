"""The report as sections of words and tables, which Markdown and HTML only dress."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from homeostat.stress.facts import Quantiles

NOT_TESTED = "NOT TESTED"
YES, NO = "✓ yes", "✗ no"

#: What `shown` can turn into text.
Cell = object


@dataclass(frozen=True)
class Table:
    """Headers and rows; `shown` turns a cell into text."""

    headers: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """One numbered section: its words, its tables and the names of its plots."""

    title: str
    words: Sequence[str] = ()
    tables: Sequence[Table] = ()
    plots: Sequence[str] = field(default=())


def shown(cell: Cell) -> str:
    """Return a cell's text; what nobody looked at is printed as NOT TESTED."""
    if cell is None:
        return NOT_TESTED
    if isinstance(cell, bool):
        return YES if cell else NO
    if isinstance(cell, float):
        return f"{cell:.1f}" if abs(cell) >= 10 else f"{cell:.2f}"
    return str(cell)


def quantile_table(items: Iterable[tuple[str, Quantiles | None]]) -> Table:
    """Return the table of named distributions; one that was not measured is NOT TESTED."""
    rows: list[list[Cell]] = []
    for name, q in items:
        if q is None:
            rows.append([name, *[None] * 5, "–"])
            continue
        target = "–" if q.target_ms is None else f"{q.target_ms:.0f}"
        rows.append([name, q.count, q.p50_ms, q.p95_ms, q.p99_ms, q.max_ms, target])
    headers = ["path", "n", "p50 ms", "p95 ms", "p99 ms", "max ms", "target p99 ms"]
    return Table(headers, rows)
