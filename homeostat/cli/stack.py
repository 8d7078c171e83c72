"""`homeostat up`, `down` and `status`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Annotated

import typer

from homeostat.cli.output import Format, Output, table
from homeostat.settings import settings

app = typer.Typer(help="The embedded stack.", no_args_is_help=True)


@app.command()
def up(
    *,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once it is up.")] = False,
) -> None:
    """Start Redis, workers, beat, Flower and the API, and supervise them until Ctrl-C.

    Returns when everything answers (with --detach), or when the stack was stopped.
    """
    from workers import keeper

    chosen = settings()
    state = keeper.detach(chosen) if detach else keeper.keep(chosen, on_ready=_say_ready)
    if detach:
        _say_ready(state)


def _say_ready(state: object) -> None:
    from workers.state_file import StackState

    if not isinstance(state, StackState):
        return
    typer.echo(f"The stack is ready after {state.seconds:.1f} s.")
    typer.echo(f"  Flower  {state.flower_url}  (user and password: {state.flower_auth})")
    typer.echo(f"  API     {state.api_url}")
    typer.echo(f"  Broker  {state.broker}")
    typer.echo(f"  Stop it with `homeostat down`; its state is in {state.state_dir}.")
    sys.stdout.flush()


@app.command()
def down() -> None:
    """Stop the stack: workers finish first, Redis ends last, nothing is left behind."""
    from workers import keeper

    began = time.monotonic()
    stopped = keeper.stop(settings())
    folder = settings().state_dir
    if stopped:
        typer.echo(f"The stack on {folder} was stopped in {time.monotonic() - began:.1f} s.")
    else:
        typer.echo(f"No stack runs on {folder}; nothing had to be stopped.")


@app.command()
def status(
    output: Output = Format.TEXT,
) -> None:
    """Show each component's state with the evidence for it, the processes, queues, incidents."""
    from homeostat.cli.standing import overview

    seen = overview(settings())
    if output is Format.JSON:
        typer.echo(json.dumps(seen, indent=2, default=str))
        return
    for show in (_show_components, _show_stack, _show_rest):
        show(seen, typer.echo)


def _show_components(seen: dict[str, object], _echo: Callable[[str], None]) -> None:
    rows = seen["components"]
    if isinstance(rows, list):
        columns = ("component", "state", "reason", "seen")
        table("Components", columns, [[str(row[c] or "") for c in _KEYS] for row in rows])


_KEYS = ("name", "state", "reason", "seen_at")


def _show_stack(seen: dict[str, object], echo: Callable[[str], None]) -> None:
    stack = seen["stack"]
    if not isinstance(stack, dict) or not stack["running"]:
        echo("\nNo stack runs on this state folder; start one with `homeostat up`.")
        return
    echo("")
    rows = [(p["name"], p["state"], str(p["pid"] or "")) for p in stack["processes"]]
    table("Stack", ("process", "state", "pid"), rows)
    echo(f"\nFlower {stack['flower_url']}  API {stack['api_url']}")


def _show_rest(seen: dict[str, object], echo: Callable[[str], None]) -> None:
    queues, incidents = seen["queues"], seen["incidents"]
    depths = (
        ", ".join(f"{name} {depth}" for name, depth in queues.items())
        if isinstance(queues, dict)
        else "UNKNOWN: the broker does not answer"
    )
    echo(f"Queues: {depths}")
    if isinstance(incidents, dict):
        echo(f"Incidents open: {incidents['open']}")
