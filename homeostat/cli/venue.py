"""`homeostat trade venue`: the loopback venue, how the outside one stands, and its keys."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from homeostat.cli.output import Format, Output, show

app = typer.Typer(help="Where orders go.", no_args_is_help=True)

#: The secrets that `keys` keeps, and what the settings then say.
KEY_NAME, SECRET_NAME = "venue-key", "venue-secret"
_ACTOR = "person:command-line"


@app.callback()
def _group() -> None:
    """Where orders go."""


@app.command("serve")
def serve(
    *,
    port: Annotated[int, typer.Option(help="0: any free port.")] = 0,
    faults: Annotated[Path | None, typer.Option(help="A JSON list of faults to come.")] = None,
) -> None:
    """Serve the loopback venue on 127.0.0.1 until Ctrl-C; the first line is its address."""
    from homeostat.trading.venue.loopback import WeightLimit
    from homeostat.trading.venue.loopback.__main__ import serve as serve_loopback

    serve_loopback(port, WeightLimit(), faults)


@app.command("status")
def status(*, output: Output = Format.TEXT) -> None:
    """How the venue stands for all workers: circuit, wait, weight, orders without an end."""
    from homeostat.settings import settings
    from homeostat.store.database import migrate, reading
    from homeostat.store.redis import unavailable_named
    from homeostat.trading.flow import errands
    from homeostat.trading.venue import choice

    found: dict[str, Any] = {"venue": settings().venue.value}
    if settings().trades_outside:
        with unavailable_named():
            standing = choice.guard(settings()).standing()
        wait = datetime.fromtimestamp(standing.wait_until, UTC) if standing.wait_until else None
        found |= {
            "circuit": standing.circuit,
            "failures_in_a_row": standing.failures,
            "waits_until": wait.isoformat(timespec="seconds") if wait else "",
            "weight_used": f"{standing.used_weight} of {standing.limits.weight}",
        }
    migrate()
    with reading() as session:
        found["unsettled_orders"] = len(errands.unsettled(session))
    show(found, output, "Venue")


@app.command("reconcile")
def reconcile(*, output: Output = Format.TEXT) -> None:
    """Bring book and venue together now: the venue is the truth."""
    from homeostat.settings import settings
    from homeostat.store.database import migrate, transaction
    from homeostat.trading.flow.reconcile import reconcile as bring_together
    from homeostat.trading.venue import choice

    exchange = choice.exchange(settings())
    migrate()
    found = bring_together(transaction, exchange)
    show(found.as_json(), output, "Reconciled")


@app.command("keys")
def keys() -> None:
    """Ask for the venue's API key and secret, and keep them encrypted."""
    from homeostat import registry
    from homeostat.store.database import migrate, transaction

    migrate()
    given = {
        KEY_NAME: typer.prompt("API key", hide_input=True),
        SECRET_NAME: typer.prompt("API secret", hide_input=True),
    }
    manager: Any = registry.find("kernels.secret_manager")
    with transaction() as session:
        for name, value in given.items():
            manager.store(session, name, value, actor=_ACTOR)
    typer.echo(f"HOMEOSTAT_VENUE_KEY=secret://{KEY_NAME}")
    typer.echo(f"HOMEOSTAT_VENUE_SECRET=secret://{SECRET_NAME}")
