"""Writes a report as JSON, Markdown and one self-contained HTML file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from homeostat.stress.layout import NO, NOT_TESTED, Cell, Section, shown
from homeostat.stress.plots import plots
from homeostat.stress.report import Report
from homeostat.stress.sections import SECTIONS


@dataclass(frozen=True)
class ReportFiles:
    """Where a report was written."""

    markdown: Path
    html: Path
    json: Path


@lru_cache(maxsize=2)
def _environment(*, escape: bool) -> Environment:
    return Environment(
        loader=PackageLoader("homeostat.stress"),
        autoescape=escape,  # noqa: S701  # Markdown is not HTML; the HTML template is escaped
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _line(cell: Cell) -> str:
    """Return a cell's text for a Markdown table: one line, bars escaped."""
    return " ".join(shown(cell).split()).replace("|", "\\|")


def _sections(report: Report) -> list[Section]:
    return [show(report) for show in SECTIONS]


def markdown(report: Report) -> str:
    """Return the report as Markdown."""
    template = _environment(escape=False).get_template("report.md.j2")
    return template.render(report=report, sections=_sections(report), line=_line).strip() + "\n"


def html(report: Report) -> str:
    """Return the report as one HTML file with its plots inside; it loads nothing from outside."""
    template = _environment(escape=True).get_template("report.html.j2")
    return template.render(
        report=report,
        sections=_sections(report),
        plots=plots(report),
        shown=shown,
        not_tested=NOT_TESTED,
        no=NO,
    )


def write(report: Report, folder: Path) -> ReportFiles:
    """Write the three files into `folder` (made where missing) and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    files = ReportFiles(folder / "report.md", folder / "report.html", folder / "report.json")
    files.json.write_text(report.model_dump_json(indent=1), encoding="utf-8")
    files.markdown.write_text(markdown(report), encoding="utf-8")
    files.html.write_text(html(report), encoding="utf-8")
    return files
