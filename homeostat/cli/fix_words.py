"""How repairs are told on the command line: one of them, its proof, and what happened around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from homeostat.cli.output import table

if TYPE_CHECKING:
    from homeostat.store.repair import Repair


def tell(shown: dict[str, Any]) -> None:
    """Print an outcome: the failure, the patch with its proof, what was refused."""
    typer.echo(f"{shown['status']}  {shown['id']}  {shown['seconds']} s")
    if "no network" not in shown["protections"]:
        typer.echo(
            "Bubblewrap is missing: it ran with limits only, and nothing was run that is not from "
            "the repository. Install the package `bubblewrap`."
        )
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


def row_of(repair: Repair) -> dict[str, Any]:
    """Return a repair for JSON."""
    return {
        "id": repair.id,
        "status": repair.status,
        "repository": repair.repository,
        "command": repair.command,
        "incident_id": repair.incident_id,
        "commit": repair.commit,
        "decided_by": repair.decided_by,
        "approval_id": repair.approval_id,
        "created_at": repair.created_at.isoformat(),
        "applied_at": repair.applied_at.isoformat() if repair.applied_at else None,
        "watch": repair.watch,
        "story": repair.story,
        "outcome": repair.outcome,
    }


def around(row: Repair) -> dict[str, Any]:
    """Return what else is known of a repair: its incident's timeline, and why each step was."""
    from homeostat.incidents import views
    from homeostat.store import database, decisions

    with database.reading() as session:
        return {
            "timeline": views.timeline(session, row.incident_id),
            "decisions": [
                {
                    "at": one.at.isoformat(),
                    "action": one.action,
                    "rule": one.rule,
                    "outcome": one.outcome,
                    "alternatives": one.alternatives,
                    "audit_sequence": one.audit_sequence,
                }
                for one in decisions.on(session, row.incident_id)
                if one.inputs.get("repair") == row.id
            ],
        }


def tell_around(incident_id: str, found: dict[str, Any]) -> None:
    """Print what happened around a repair: the incident, and the decisions on it."""
    table(
        f"Incident {incident_id}",
        ("at", "event", "to", "by", "why"),
        [
            (step["at"][11:19], step["event"], step["to"] or "", step["actor"],
             str(step["detail"].get("reason") or step["detail"].get("evidence") or ""))
            for step in found["timeline"]
        ],
    )  # fmt: skip
    table(
        "Decisions, with their rows in the immutable log",
        ("at", "action", "rule", "outcome", "row"),
        [
            (one["at"][11:19], one["action"], one["rule"], one["outcome"],
             str(one["audit_sequence"]))
            for one in found["decisions"]
        ],
    )  # fmt: skip
