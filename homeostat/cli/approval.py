"""`homeostat approval`: what waits for a person, and the person's word."""

from __future__ import annotations

import getpass
import json
from typing import Annotated, Any

import typer

from homeostat.cli.output import Format, Output, table
from homeostat.store import approvals, database
from homeostat.store.approvals import Approval, ApprovalError
from homeostat.supervision import deciding
from workers.sending import send

app = typer.Typer(help="What waits for a person's approval.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="The approval's id, or the beginning of it.")]
Reason = Annotated[str, typer.Option(help="Why; it stands in the audit log.")]


@app.command("list")
def list_(output: Output = Format.TEXT) -> None:
    """List what waits, oldest first."""
    database.migrate()
    with database.reading() as session:
        found = [_shown(one) for one in approvals.waiting(session)]
    if output is Format.JSON:
        typer.echo(json.dumps({"waiting": found}, indent=2))
        return
    keys = ("id", "action", "risk", "requested_by", "expires_at")
    table("Waiting for a person", keys, [[str(row[key]) for key in keys] for row in found])


@app.command()
def show(approval: Id, output: Output = Format.TEXT) -> None:
    """Show one with the plan or diff that would be carried out."""
    found = _find(approval)
    if output is Format.JSON:
        typer.echo(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        typer.echo(f"{key:13} {value}" if key != "plan" else f"\n{value}")


@app.command()
def approve(approval: Id, *, reason: Reason = "") -> None:
    """Approve it, once: it is carried out and verified within seconds."""
    _decide(approval, approve=True, reason=reason)


@app.command()
def reject(approval: Id, *, reason: Reason = "") -> None:
    """Reject it, once."""
    _decide(approval, approve=False, reason=reason)


def _decide(approval: str, *, approve: bool, reason: str) -> None:
    found = _find(approval)
    deciding.decide(found["id"], approve=approve, by=getpass.getuser(), reason=reason, send=send)
    typer.echo(f"{'Approved' if approve else 'Rejected'}: {found['action']}.")


def _find(approval: str) -> dict[str, Any]:
    """Return the one that begins so; raises ApprovalError where none or several do."""
    database.migrate()
    with database.reading() as session:
        exact = session.get(Approval, approval)
        alike = [one for one in approvals.waiting(session) if one.id.startswith(approval)]
        found = [exact] if exact is not None else alike
        if len(found) != 1:
            said = "No approval" if not found else "More than one approval"
            raise ApprovalError(f"{said} begins with {approval!r}; see `homeostat approval list`.")
        return _shown(found[0])


def _shown(one: Approval) -> dict[str, Any]:
    return {
        "id": one.id,
        "action": one.action,
        "subject": one.subject,
        "risk": one.risk,
        "requested_by": one.requested_by,
        "state": one.state,
        "expires_at": one.expires_at.isoformat(),
        "plan": one.plan,
    }
