"""`homeostat boot`: boot all components by tier, and say of each what it was seen to do."""

from __future__ import annotations

from typing import Annotated

import typer

from homeostat.component import State
from homeostat.supervision.boot import boot
from homeostat.supervision.boot_report import BootReport, BootRow
from workers.sending import send

app = typer.Typer()


@app.callback(invoke_without_command=True)
def command(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the boot report as JSON.")] = False,
) -> None:
    """Boot every component with evidence; exit code 1 unless every one is RUNNING."""
    if as_json:
        report = boot(send=send)
        typer.echo(report.model_dump_json())
    else:
        report = boot(on_row=_line, send=send)
        _summary(report)
    everything = [*report.components, *report.subsystems]
    if any(row.state is not State.RUNNING for row in everything):
        raise typer.Exit(1)


def _line(row: BootRow) -> None:
    colour = {State.RUNNING: "green", State.DEGRADED: "yellow"}.get(row.state, "red")
    state = typer.style(f"{row.state:9}", fg=colour)
    typer.echo(f"{state} tier {row.tier}  {row.seconds:6.3f} s  {row.name}  {row.error}".rstrip())


def _summary(report: BootReport) -> None:
    running = sum(row.state is State.RUNNING for row in report.subsystems)
    typer.echo(
        f"{report.running} of {report.total} kernels and {running} of {len(report.subsystems)} "
        f"subsystems run after {report.seconds:.2f} s"
    )
    for tier in report.tiers:
        typer.echo(f"  tier {tier.tier}: {tier.running} of {tier.total} in {tier.seconds:.3f} s")
