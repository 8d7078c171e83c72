"""`homeostat stress`: the main job."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from homeostat.stress.render import ReportFiles
    from homeostat.stress.report import Report

app = typer.Typer(help="Run a stress test and report; exit code 0 only for STABLE.")


@app.command()
def stress(
    *,
    minutes: Annotated[float, typer.Option(help="Length of the load.")] = 10.0,
    waves: Annotated[int | None, typer.Option(help="Chaos waves; by default by length.")] = None,
    profile: Annotated[int | None, typer.Option(help="Seed of waves; drawn by default.")] = None,
    scenario: Annotated[
        list[str] | None, typer.Option(help="Scenario id; may be given again.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report's JSON on stdout.")] = False,
    out: Annotated[Path | None, typer.Option(help="A folder for a copy of the report.")] = None,
) -> None:
    """Run load and chaos waves on a stack, started for it where none runs, and report.

    Progress goes to standard error. Exit codes: 0 STABLE, 10 DEGRADED, 11 UNSTABLE,
    12 INCONCLUSIVE.
    """
    from homeostat.chaos import catalogue, forensics
    from homeostat.cli.stress_run import run_stress
    from homeostat.settings import settings
    from homeostat.stress import plan, render
    from homeostat.stress.report import EXIT_CODES

    chosen = plan.plan(
        minutes=minutes,
        wave_count=waves,
        seed=profile,
        scenarios=tuple(scenario) if scenario else catalogue.STANDARD,
        runs=forensics.runs(settings()),
    )
    report, files = run_stress(chosen)
    if out is not None:
        files = render.write(report, out)
    if as_json:
        sys.stdout.write(report.model_dump_json(indent=1) + "\n")
    else:
        _say(report, files)
    raise typer.Exit(EXIT_CODES[report.verdict])


def _say(report: Report, files: ReportFiles) -> None:
    from homeostat.stress.sections.summary import headline

    for line in headline(report):
        typer.echo(line)
    typer.echo("")
    typer.echo(f"  Markdown  {files.markdown}")
    typer.echo(f"  HTML      {files.html}")
    typer.echo(f"  JSON      {files.json}")
    for name, address in report.addresses.items():
        typer.echo(f"  {name:<8}  {address}")
