"""`homeostat fix`: mend a failing command, and decide on what was proposed."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homeostat.cli.output import Format, Output, table

if TYPE_CHECKING:
    from homeostat.repair.knowledge import Knowledge
    from homeostat.store.repair import Repair

app = typer.Typer(help="Fixes: what was found, proved, applied, taken back.", no_args_is_help=True)

KnowledgePath = Annotated[
    Path | None, typer.Option(help="A knowledge base of its own; without: Homeostat's database.")
]
#: Exit codes of `fix run`, besides 0 for a proven patch.
NONE_FOUND, REFUSED = 3, 4


@app.callback()
def _group() -> None:
    """Fixes: what was found, proved, applied, taken back."""


def open_knowledge(path: Path | None) -> Knowledge:
    """Open the knowledge base at `path`, or the one in Homeostat's database."""
    from homeostat.repair.knowledge import Knowledge
    from homeostat.settings import settings

    if path is not None:
        return Knowledge.at(path)
    from homeostat.store.database import engine

    settings().ensure_state_dir()
    return Knowledge(engine())


@app.command("run")
def run(
    *,
    repository: Annotated[Path, typer.Option(help="A git checkout with the defect.")],
    command: Annotated[str, typer.Option(help="The command that fails.")],
    apply: Annotated[
        bool, typer.Option("--apply", help="Commit the patch where the evidence allows it.")
    ] = False,
    approve_all: Annotated[
        bool, typer.Option("--approve", help="Commit any proven patch: you are its approval.")
    ] = False,
    knowledge: KnowledgePath = None,
    suite: Annotated[bool, typer.Option(help="Run the whole suite as part of the proof.")] = True,
    output: Output = Format.TEXT,
) -> None:
    """Localise, patch and prove; exit 0: proven, 3: nothing found, 4: candidates were refused."""
    from homeostat.repair.agent import Apply, Options, Status, fix
    from homeostat.repair.proof.prover import Depth
    from homeostat.settings import settings

    choice = Apply.APPROVED if approve_all else Apply.POLICY if apply else Apply.NEVER
    options = Options(
        apply=choice,
        mode=settings().mode,
        knowledge=open_knowledge(knowledge),
        depth=Depth(suite=suite),
    )
    outcome = fix(repository, command, options)
    shown = outcome.as_json()
    if output is Format.JSON:
        typer.echo(json.dumps(shown, indent=2))
    else:
        _tell(shown)
    if outcome.status is Status.NONE_FOUND:
        raise typer.Exit(NONE_FOUND)
    if outcome.status is Status.REFUSED:
        raise typer.Exit(REFUSED)


def _tell(shown: dict[str, Any]) -> None:
    typer.echo(f"{shown['status']}  {shown['id']}  {shown['seconds']} s")
    if shown["failure"]:
        typer.echo(f"Failure: {shown['failure']}")
    if shown["fix"]:
        typer.echo(shown["fix"]["title"] + "\n")
        typer.echo(shown["fix"]["diff"])
        _tell_steps(shown["fix"]["proof"]["steps"])
        typer.echo(f"{shown['verdict']['decision']}: {shown['verdict']['reason']}")
    for attempt in shown["refused"]:
        typer.echo(f"refused: {attempt['title']}\n         {attempt['proof']['refusal']}")
    if shown["commit"]:
        typer.echo(f"Commit: {shown['commit']}")
    elif shown["fix"]:
        typer.echo(f"Apply it with: homeostat fix approve {shown['id']}")


def _tell_steps(steps: list[dict[str, Any]]) -> None:
    table(
        "Proof",
        ("step", "held", "seconds", "what was seen"),
        [
            (item["name"], "passed" if item["passed"] else "failed", str(item["seconds"]),
             item["detail"])
            for item in steps
        ],
    )  # fmt: skip


def _row(repair: Repair) -> dict[str, Any]:
    return {
        "id": repair.id,
        "status": repair.status,
        "repository": repair.repository,
        "command": repair.command,
        "incident_id": repair.incident_id,
        "commit": repair.commit,
        "decided_by": repair.decided_by,
        "created_at": repair.created_at.isoformat(),
        "story": repair.story,
        "outcome": repair.outcome,
    }


@app.command("list")
def list_(output: Output = Format.TEXT, *, knowledge: KnowledgePath = None) -> None:
    """List the repairs, newest first."""
    rows = open_knowledge(knowledge).repairs()
    if output is Format.JSON:
        typer.echo(json.dumps([_row(row) for row in rows], indent=2))
        return
    table(
        "Repairs",
        ("id", "status", "failure", "fix"),
        [
            (row.id, row.status, row.outcome.get("failure", ""),
             (row.outcome.get("fix") or {}).get("title", ""))
            for row in rows
        ],
    )  # fmt: skip


@app.command("show")
def show(repair_id: str, output: Output = Format.TEXT, *, knowledge: KnowledgePath = None) -> None:
    """Tell the whole story of one repair, with its diff and proof."""
    row = open_knowledge(knowledge).repair(repair_id)
    if output is Format.JSON:
        typer.echo(json.dumps(_row(row), indent=2))
        return
    _tell({**row.outcome, "status": row.status, "commit": row.commit})
    for entry in row.story:
        typer.echo(f"{entry['at']}  {entry['what']}  {entry.get('actor', '')}".rstrip())


@app.command("approve")
def approve(
    repair_id: str,
    *,
    actor: Annotated[str, typer.Option(help="Who approves.")] = "",
    knowledge: KnowledgePath = None,
) -> None:
    """Apply a proposed fix as a commit."""
    from homeostat.repair import decisions

    row = decisions.approve(open_knowledge(knowledge), repair_id, actor or getpass.getuser())
    typer.echo(f"applied as {row.commit}")


@app.command("reject")
def reject(
    repair_id: str,
    *,
    reason: Annotated[str, typer.Option(help="Why not.")] = "",
    actor: Annotated[str, typer.Option(help="Who refuses.")] = "",
    knowledge: KnowledgePath = None,
) -> None:
    """Refuse a proposed fix."""
    from homeostat.repair import decisions

    decisions.reject(open_knowledge(knowledge), repair_id, actor or getpass.getuser(), reason)
    typer.echo("rejected")


@app.command("revert")
def revert(
    repair_id: str,
    *,
    reason: Annotated[str, typer.Option(help="Why it goes back.")] = "by hand",
    actor: Annotated[str, typer.Option(help="Who takes it back.")] = "",
    knowledge: KnowledgePath = None,
) -> None:
    """Take an applied fix back by a new commit."""
    from homeostat.repair import decisions

    row = decisions.take_back(
        open_knowledge(knowledge), repair_id, actor or getpass.getuser(), reason
    )
    typer.echo(f"taken back by {row.commit}")
