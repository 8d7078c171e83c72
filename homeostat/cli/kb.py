"""`homeostat kb`: the fixes that are known, and how they fared."""

from __future__ import annotations

import json
from typing import Any

import typer

from homeostat.cli.fix import KnowledgePath, open_knowledge
from homeostat.cli.output import Format, Output, table

app = typer.Typer(help="The knowledge of past fixes.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The knowledge of past fixes."""


@app.command("list")
def list_(output: Output = Format.TEXT, *, knowledge: KnowledgePath = None) -> None:
    """List the known fixes, latest used first."""
    rows = [
        {
            "id": row.id,
            "replay_key": row.replay_key,
            "strategy": row.strategy,
            "class": row.defect,
            "title": row.title,
            "successes": row.successes,
            "failures": row.failures,
            "last_used_at": row.last_used_at.isoformat(),
        }
        for row in open_knowledge(knowledge).fixes()
    ]
    if output is Format.JSON:
        typer.echo(json.dumps(rows, indent=2))
        return
    table(
        "Known fixes",
        ("id", "class", "title", "won", "lost"),
        [_cells(row) for row in rows],
    )


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["id"], row["class"], row["title"], str(row["successes"]), str(row["failures"])
    )  # fmt: skip


@app.command("show")
def show(fix_id: str, *, knowledge: KnowledgePath = None) -> None:
    """Show one known fix as JSON: parameters, diff, proof."""
    found = [row for row in open_knowledge(knowledge).fixes(1000) if row.id == fix_id]
    if not found:
        from homeostat.repair.story import UnknownRepairError

        raise UnknownRepairError(f"No known fix has the id {fix_id}; `homeostat kb list` shows.")
    row = found[0]
    typer.echo(
        json.dumps(
            {
                "id": row.id,
                "replay_key": row.replay_key,
                "group_key": row.group_key,
                "strategy": row.strategy,
                "class": row.defect,
                "side": row.side,
                "title": row.title,
                "parameters": row.parameters,
                "preimages": row.preimages,
                "diff": row.diff,
                "proof": row.proof,
                "successes": row.successes,
                "failures": row.failures,
            },
            indent=2,
        )
    )
