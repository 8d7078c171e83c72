"""How the command line shows things: JSON for programs, a table for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer


class Format(StrEnum):
    """The forms of output; `-o json` is stable, text and table are for reading, and the same."""

    TEXT = "text"
    TABLE = "table"
    JSON = "json"


#: The option that every listing command has.
Output = Annotated[Format, typer.Option("-o", "--output", help="text, table or json")]

#: The colour of a state; UNKNOWN is as loud as FAILED.
STYLES = {
    "RUNNING": "green",
    "DEGRADED": "yellow",
    "FAILED": "bold white on red",
    "UNKNOWN": "bold white on magenta",
    "passed": "green",
    "failed": "bold white on red",
}


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; a cell that is a state is coloured."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(_styled(cell, escape(cell)) for cell in row))
    Console().print(shown)


def _styled(cell: str, escaped: str) -> str:
    style = STYLES.get(cell)
    return f"[{style}]{escaped}[/]" if style else escaped


def show(found: Any, output: Format, title: str) -> None:
    """Print as JSON, or as a table: of rows where it is a list, of keys and values otherwise."""
    if output is Format.JSON:
        typer.echo(json.dumps(found, default=str))
        return
    rows = found if isinstance(found, list) else [{"": k, "value": v} for k, v in found.items()]
    columns = list(rows[0]) if rows else ["nothing"]
    table(title, columns, [[_cell(row[name]) for name in columns] for row in rows])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(one)}" for name, one in value.items()) or "–"
    if isinstance(value, list):
        return ", ".join(map(_cell, value)) or "–"
    return str(value)
