"""`homeostat chaos`: the scenarios, and running some of them by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from homeostat.cli.output import Format, table

if TYPE_CHECKING:
    from homeostat.chaos.scenario import ScenarioResult

app = typer.Typer(help="Chaos scenarios: real faults, each with its control.", no_args_is_help=True)


@app.command("list")
def list_scenarios(
    output: Annotated[Format, typer.Option("-o", "--output")] = Format.TEXT,
) -> None:
    """List the scenarios with their faults, triggers, remedies and bounds."""
    from homeostat.chaos.catalogue import SCENARIOS

    if output is Format.JSON:
        rows = [scenario.model_dump(mode="json") for scenario in SCENARIOS]
        typer.echo(json.dumps({"scenarios": rows}, indent=2))
        return
    table(
        "Scenarios",
        ("id", "severity", "fault", "noticed by", "remedy", "bound s"),
        [
            (
                scenario.id,
                scenario.severity.value,
                scenario.title,
                scenario.noticed_by or "–",
                scenario.remedy.value,
                f"{scenario.bound_s:g}",
            )
            for scenario in SCENARIOS
        ],
    )


@app.command("run")
def run(
    scenarios: Annotated[list[str], typer.Argument(help="Ids, such as P1 B1.")],
    *,
    journal: Annotated[Path | None, typer.Option(help="Folder for Chaos Toolkit files.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Results as JSON on stdout.")] = False,
    rate: Annotated[float, typer.Option(help="Effect jobs a second under the faults.")] = 5.0,
) -> None:
    """Run scenarios on this folder's stack, started for it where none runs; 0 only if all PASS.

    No control is run here: `homeostat stress` does, and what it kept of this very code is shown.
    With HOMEOSTAT_RECOVERY=false this run is one.
    """
    from homeostat.chaos import catalogue
    from homeostat.chaos.scenario import Outcome
    from homeostat.cli.chaos_run import run_scenarios

    chosen = [catalogue.find(name) for name in scenarios]
    results = run_scenarios(chosen, rate=rate, progress=lambda line: typer.echo(line, err=True))
    if journal is not None:
        _export(journal, results)
    if as_json:
        rows = [result.model_dump(mode="json") for result in results]
        typer.echo(json.dumps({"results": rows}, indent=1))
    else:
        table(
            "Results",
            ("scenario", "outcome", "control", "detect s", "heal s", "lost", "doubled", "why"),
            [
                (
                    r.id,
                    r.outcome.value,
                    "failed as it must" if r.control else "not run",
                    _seconds(r.detect_s),
                    _seconds(r.heal_s),
                    str(r.lost),
                    str(r.doubled),
                    "; ".join(r.reasons),
                )
                for r in results
            ],
        )
    if any(result.outcome is not Outcome.PASS for result in results):
        raise typer.Exit(1)


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _export(folder: Path, results: list[ScenarioResult]) -> None:
    from homeostat.chaos import catalogue, journal

    folder.mkdir(parents=True, exist_ok=True)
    for result in results:
        scenario = catalogue.find(result.id)
        for name, document in (
            ("experiment", journal.experiment(scenario)),
            ("journal", journal.journal(scenario, result)),
        ):
            path = folder / f"{result.id}.{name}.json"
            path.write_text(json.dumps(document, indent=1), encoding="utf-8")
