"""`homeostat snapshot`: what is kept as last known good, and what differs from it now."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from pydantic import JsonValue

from homeostat.cli.output import Format, Output, table
from homeostat.store import database
from homeostat.supervision import snapshots
from homeostat.supervision.snapshots import Kind

app = typer.Typer(help="Last-known-good snapshots, and what differs from them.")

_LONGEST = 60


@app.command("list")
def list_(output: Output = Format.TEXT) -> None:
    """List the newest undamaged snapshot of each kind; `upkeep.snapshot` takes one each hour."""
    rows = [
        {"kind": kind, "at": found.at.isoformat(), "digest": found.digest, "file": str(found.path)}
        for kind in Kind
        if (found := snapshots.newest(kind)) is not None
    ]
    if output is Format.JSON:
        typer.echo(json.dumps({"snapshots": rows}, indent=2))
        return
    columns = ("kind", "at", "file")
    table("Snapshots", columns, [[row[name] for name in columns] for row in rows])


@app.command()
def drift(
    kinds: Annotated[list[Kind] | None, typer.Argument(help="Which; all by default.")] = None,
    output: Output = Format.TEXT,
) -> None:
    """Show what differs now from the newest snapshots; exit code 1 where anything does.

    A kind that was never taken is shown as unknown, and counts as a difference. The configuration
    is held against the settings of this shell.
    """
    database.migrate()
    with database.reading() as session:
        found = {kind: snapshots.drift(session, kind) for kind in kinds or Kind}
    if output is Format.JSON:
        typer.echo(json.dumps(found, indent=2))
    else:
        rows = [row for kind, one in found.items() for row in _rows(kind, one)]
        table("Drift", ("kind", "what", "was", "is"), rows)
    if any(one is None or one for one in found.values()):
        raise typer.Exit(1)


def _rows(kind: Kind, found: dict[str, JsonValue] | None) -> list[tuple[str, str, str, str]]:
    if found is None:
        return [(kind.value, "no snapshot was taken yet", "UNKNOWN", "UNKNOWN")]
    rows = []
    for name, change in found.items():
        both = change if isinstance(change, dict) else {"is": change}
        rows.append((kind.value, name, _short(both.get("was")), _short(both.get("is"))))
    return rows


def _short(value: JsonValue) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
