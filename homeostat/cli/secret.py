"""`homeostat secret`: stored encrypted, named in settings as `secret://NAME`, never printed."""

from __future__ import annotations

import getpass
import json
import sys
from typing import TYPE_CHECKING, Annotated, cast

import typer

from homeostat import registry
from homeostat.cli.output import Format, Output, table
from homeostat.store import database

if TYPE_CHECKING:
    from homeostat.kernels.secret_manager import SecretManager

app = typer.Typer(help="Secrets, encrypted at rest; their values are never shown.")

Name = Annotated[str, typer.Argument(help="The secret's name, as in secret://NAME.")]


@app.command("list")
def list_(output: Output = Format.TEXT) -> None:
    """List the names with their newest version, and which are revoked."""
    with database.reading() as session:
        found = _kernel().list(session)
    if output is Format.JSON:
        typer.echo(json.dumps({"secrets": found}, indent=2))
        return
    rows = [[name, str(one["version"]), str(one["revoked"])] for name, one in found.items()]
    table("Secrets", ("name", "version", "revoked"), rows)


@app.command("set")
def set_(name: Name) -> None:
    """Store a value, read from the terminal without echo or from standard input.

    Where the secret exists, the versions before the new one are revoked.
    """
    value = getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.read().strip("\n")
    kernel = _kernel()
    with database.transaction() as session:
        keep = kernel.rotate if name in kernel.list(session) else kernel.store
        version = keep(session, name, value, actor=getpass.getuser())
    typer.echo(f"{name} is stored as version {version}; settings name it secret://{name}.")


@app.command()
def revoke(name: Name) -> None:
    """Revoke every version of a secret: nobody is given it any more."""
    with database.transaction() as session:
        _kernel().revoke(session, name, actor=getpass.getuser())
    typer.echo(f"{name} is revoked.")


@app.command("rotate-key")
def rotate_key() -> None:
    """Encrypt every secret under a new key."""
    with database.transaction() as session:
        count = _kernel().rotate_key(session, actor=getpass.getuser())
    typer.echo(f"{count} stored values are encrypted under a new key.")


def _kernel() -> SecretManager:
    database.migrate()
    return cast("SecretManager", registry.find("kernels.secret_manager"))
