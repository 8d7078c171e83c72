"""The report's plots as SVG text, drawn with matplotlib without a display."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

from homeostat.stress.facts import Point
from homeostat.stress.report import Report

#: Width and height in inches.
SIZE = (8.0, 2.6)


def plots(report: Report) -> dict[str, str]:
    """Return the plots by name; one without data is left out."""
    drawn = {name: _draw(draw, report) for name, draw in _PLOTS.items()}
    return {name: svg for name, svg in drawn.items() if svg}


def _draw(draw: Callable[[Any, Report], bool], report: Report) -> str:
    # Imported here because it costs a second, and only the report needs it.
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "homeostat", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        if not draw(axes, report):
            return ""
        axes.grid(visible=True, alpha=0.3)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return _inline(out.getvalue())


def _inline(svg: str) -> str:
    """Drop the XML prolog, which may not stand inside HTML, and the metadata."""
    body = re.sub(r"^.*?(?=<svg)", "", svg, flags=re.DOTALL)
    return re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)


def _shade_faults(axes: Any, report: Report) -> None:
    for window in report.faults:
        start = (window.start - report.load_started_at).total_seconds()
        end = (window.end - report.load_started_at).total_seconds()
        axes.axvspan(start, end, color="tab:red", alpha=0.12)
        axes.text(start, 1.0, window.scenario, transform=axes.get_xaxis_transform(), va="top")


def _line(axes: Any, points: list[Point], label: str) -> None:
    axes.plot([p.t for p in points], [p.value for p in points], label=label, linewidth=1)


def _throughput(axes: Any, report: Report) -> bool:
    series = report.throughput.series if report.throughput else {}
    names = [name for name in ("effects per second", "queue depth") if series.get(name)]
    for name in names:
        _line(axes, series[name], name)
    _shade_faults(axes, report)
    axes.set_xlabel("seconds of load; shaded: a fault until steady state")
    if names:
        axes.legend(loc="upper right")
    return bool(names)


def _latency(axes: Any, report: Report) -> bool:
    points = report.throughput.series.get("latency ms") if report.throughput else None
    if not points:
        return False
    axes.plot([p.t for p in points], [p.value for p in points], ".", markersize=3)
    _shade_faults(axes, report)
    axes.set_yscale("log")
    axes.set_ylabel("ms from row to effect")
    axes.set_xlabel("seconds of load")
    return True


def _memory(axes: Any, report: Report) -> bool:
    for row in report.memory:
        _line(axes, row.series, row.process)
    axes.set_ylabel("MB resident")
    axes.set_xlabel("seconds of load")
    axes.legend(loc="upper right", fontsize=6, ncols=3)
    return bool(report.memory)


def _lateness(axes: Any, report: Report) -> bool:
    rows = [row for row in report.cadence if row.lateness_max_s is not None]
    axes.bar([row.entry for row in rows], [row.lateness_max_s or 0 for row in rows])
    axes.tick_params(axis="x", labelrotation=90, labelsize=6)
    axes.set_ylabel("worst lateness, s")
    return bool(rows)


def _chaos(axes: Any, report: Report) -> bool:
    rows = [result for result in report.chaos if result.heal_s is not None]
    names = [result.id for result in rows]
    axes.barh(names, [result.bound_s for result in rows], color="0.9", label="bound")
    axes.barh(names, [result.heal_s or 0 for result in rows], height=0.5, label="healed")
    axes.barh(names, [result.detect_s or 0 for result in rows], height=0.25, label="detected")
    axes.set_xlabel("seconds after the fault")
    axes.legend(loc="lower right")
    return bool(rows)


def _equity(axes: Any, report: Report) -> bool:
    if report.book is None or not report.book.equity:
        return False
    _line(axes, report.book.equity, "equity")
    _shade_faults(axes, report)
    axes.set_ylabel("equity, quote currency")
    axes.set_xlabel("seconds of load")
    held = axes.twinx()
    held.step(
        [p.t for p in report.book.open_positions],
        [p.value for p in report.book.open_positions],
        color="tab:orange",
        linewidth=1,
    )
    held.set_ylabel("open positions")
    return True


_PLOTS: dict[str, Callable[[Any, Report], bool]] = {
    "throughput": _throughput,
    "latency": _latency,
    "memory": _memory,
    "lateness": _lateness,
    "chaos": _chaos,
    "equity": _equity,
}
