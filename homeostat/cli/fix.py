"""`homeostat fix`: mend a failing command, and decide on what was proposed."""

from __future__ import annotations

import getpass
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from homeostat.cli.fix_words import around, row_of, tell, tell_around
from homeostat.cli.output import Format, Output, table
from homeostat.errors import HomeostatError

if TYPE_CHECKING:
    from homeostat.kernels.coding_agent import CodingAgent
    from homeostat.repair.knowledge import Knowledge
    from homeostat.store.repair import Repair

app = typer.Typer(help="Fixes: what was found, proved, applied, taken back.", no_args_is_help=True)

KnowledgePath = Annotated[
    Path | None, typer.Option(help="A knowledge base of its own; without: Homeostat's database.")
]
#: Exit codes of `fix run`, besides 0 for a proven patch.
NONE_FOUND, REFUSED = 3, 4
#: Of `fix approve` and `fix revert`: a file has changed since, so nothing was written.
NOT_APPLIED = 75


@app.callback()
def _group() -> None:
    """Fixes: what was found, proved, applied, taken back."""


def open_knowledge(path: Path | None) -> Knowledge:
    """Open the knowledge base at `path`, or the one in Homeostat's database."""
    from homeostat.repair.knowledge import Knowledge
    from homeostat.settings import settings

    if path is not None:
        return Knowledge.at(path)
    from homeostat.store.database import engine, migrate

    settings().ensure_state_dir()
    # The door may be the first thing that is ever run on this state folder.
    migrate()
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
    from homeostat.repair import hints
    from homeostat.repair.agent import Apply, Options, Status, fix
    from homeostat.repair.proof.prover import Depth
    from homeostat.settings import settings

    _refuse_unreadable(command)
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
        tell(shown)
    if why := hints.why_nothing(repository.resolve(), command, outcome):
        typer.echo(f"homeostat: {why}", err=True)
    if outcome.status in {Status.NONE_FOUND, Status.HEALTHY}:
        raise typer.Exit(NONE_FOUND)
    if outcome.status is Status.REFUSED:
        raise typer.Exit(REFUSED)


class UnreadableCommandError(HomeostatError):
    """The command cannot be read as a line of words."""

    exit_code = 64


def _refuse_unreadable(command: str) -> None:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UnreadableCommandError(
            f"The command {command!r} cannot be read ({error}); check its quotes."
        ) from None
    if not words:
        raise UnreadableCommandError("The command is empty; give the command that fails.")


@app.command("list")
def list_(output: Output = Format.TEXT, *, knowledge: KnowledgePath = None) -> None:
    """List the repairs, newest first."""
    rows = open_knowledge(knowledge).repairs()
    if output is Format.JSON:
        typer.echo(json.dumps([row_of(row) for row in rows], indent=2))
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
    """Tell the whole story of one repair: its diff and proof, each step, the incident, the log."""
    row = open_knowledge(knowledge).repair(repair_id)
    beside = around(row) if knowledge is None and row.incident_id else {}
    if output is Format.JSON:
        typer.echo(json.dumps({**row_of(row), **beside}, indent=2))
        return
    if row.outcome:
        tell({**row.outcome, "status": row.status, "commit": row.commit})
    else:
        typer.echo(f"{row.status}  {row.id}")
    for entry in row.story:
        typer.echo(f"{entry['at']}  {entry['what']}  {entry.get('actor', '')}".rstrip())
    if beside:
        tell_around(row.incident_id, beside)


@app.command("approve")
def approve(
    repair_id: str,
    *,
    actor: Annotated[str, typer.Option(help="Who approves.")] = "",
    knowledge: KnowledgePath = None,
) -> None:
    """Apply a proposed fix as a commit."""
    from homeostat.repair import decisions

    opened, by = open_knowledge(knowledge), actor or getpass.getuser()
    row = opened.repair(repair_id)
    agent = _agent_of(row, knowledge)
    row = agent.approve(row.id, by) if agent else decisions.approve(opened, row.id, by)
    if row.commit:
        typer.echo(f"applied as {row.commit}")
        return
    typer.echo(f"not applied: {row.story[-1]['what']}", err=True)
    raise typer.Exit(NOT_APPLIED)


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

    opened, by = open_knowledge(knowledge), actor or getpass.getuser()
    row = opened.repair(repair_id)
    if agent := _agent_of(row, knowledge):
        agent.reject(row.id, by, reason)
    else:
        decisions.reject(opened, row.id, by, reason)
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

    opened, by = open_knowledge(knowledge), actor or getpass.getuser()
    row = opened.repair(repair_id)
    if agent := _agent_of(row, knowledge):
        row = agent.take_back(row.id, by, reason)
    else:
        row = decisions.take_back(opened, row.id, by, reason)
    back = row.watch.get("taken_back_by") or (row.commit if row.status == "reverted" else "")
    if back:
        typer.echo(f"taken back by {back}")
        return
    typer.echo(f"not taken back: {row.story[-1]['what']}", err=True)
    raise typer.Exit(NOT_APPLIED)


def _agent_of(row: Repair, knowledge: Path | None) -> CodingAgent | None:
    """Return the kernel that leads the repair of an incident, None for a repair by hand."""
    from homeostat import registry

    if not row.incident_id or knowledge is not None:
        return None
    return cast("CodingAgent", registry.find("kernels.coding_agent"))
