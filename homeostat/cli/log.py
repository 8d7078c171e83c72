"""`homeostat log`: verify and search the immutable log, and why the system acted."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, cast

import typer

from homeostat import registry
from homeostat.cli.output import Format, Output, table
from homeostat.kernels.immutable_log import ImmutableLog
from homeostat.store import database

app = typer.Typer(no_args_is_help=True)


@app.command()
def verify(output: Output = Format.TEXT) -> None:
    """Verify every row and checkpoint; exit code 1, and the row, where the chain is broken."""
    import json

    database.migrate()
    with database.reading() as session:
        report = _log().verify(session)
    if output is Format.JSON:
        typer.echo(json.dumps(asdict(report)))
    elif report.intact:
        typer.echo(f"intact: {report.rows} rows up to {report.last_sequence}")
    else:
        typer.echo(f"broken at row {report.row}: {report.reason}")
    if not report.intact:
        raise typer.Exit(1)


@app.command()
def search(
    text: Annotated[str, typer.Argument(help="Text to find in the payloads.")] = "",
    actor: Annotated[str, typer.Option()] = "",
    action: Annotated[str, typer.Option()] = "",
    limit: Annotated[int, typer.Option(min=1)] = 50,
    output: Output = Format.TEXT,
) -> None:
    """Show the newest rows that fit."""
    import json

    database.migrate()
    with database.reading() as session:
        rows = _log().search(session, text=text, actor=actor, action=action, limit=limit)
    columns = ("sequence", "at", "actor", "action", "resource", "decision", "payload", "result")
    cells = [[str(getattr(row, column)) for column in columns] for row in rows]
    if output is Format.JSON:
        typer.echo(json.dumps([dict(zip(columns, row, strict=True)) for row in cells]))
    else:
        table("Audit log", columns, cells)


@app.command()
def decisions(
    limit: Annotated[int, typer.Option(min=1)] = 50, output: Output = Format.TEXT
) -> None:
    """List what the system did by itself, newest first, with the ids for `explain`."""
    import json

    from homeostat.store import decisions as store

    database.migrate()
    columns = ("id", "at", "component", "action", "subject", "outcome")
    with database.reading() as session:
        found = store.recent(session, limit=limit)
        cells = [[str(getattr(row, column)) for column in columns] for row in found]
    if output is Format.JSON:
        typer.echo(json.dumps([dict(zip(columns, row, strict=True)) for row in cells]))
    else:
        table("Decisions", columns, cells)


@app.command()
def explain(decision: Annotated[str, typer.Argument(help="An id of `log decisions`.")]) -> None:
    """Say in one paragraph why something was done, and whether the audit log agrees."""
    from homeostat.kernels.clarity_framework import ClarityFramework

    database.migrate()
    clarity = cast("ClarityFramework", registry.find("kernels.clarity_framework"))
    with database.reading() as session:
        typer.echo(clarity.explain(session, decision))


def _log() -> ImmutableLog:
    return cast("ImmutableLog", registry.find("kernels.immutable_log"))
