"""`homeostat component`: the supervised components."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import typer

from homeostat.cli.output import Format, Output, table

if TYPE_CHECKING:
    from homeostat.component import Component
    from homeostat.registry import LoadFailure

app = typer.Typer(help="The supervised components.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The supervised components."""


@app.command("list")
def list_components(
    output: Output = Format.TEXT,
) -> None:
    """List every component, shipped and plugged in, and those that cannot be loaded."""
    from homeostat.registry import LoadFailure, load_all

    found = list(load_all())
    if output is Format.JSON:
        typer.echo(json.dumps({"components": [_described(*one) for one in found]}, indent=2))
        return
    rows = []
    for name, one in found:
        if isinstance(one, LoadFailure):
            rows.append((name, "?", f"does not load: {one.error!r}", ""))
        else:
            spec = one.spec
            rows.append((name, str(spec.tier), spec.summary, ", ".join(spec.needs)))
    table("Components", ("name", "tier", "one job", "needs"), rows)


def _described(name: str, found: type[Component] | LoadFailure) -> dict[str, Any]:
    if not inspect.isclass(found):
        return {"name": name, "loads": False, "error": repr(found.error)}
    return {"loads": True, **found.spec.model_dump(mode="json"), "name": name}
