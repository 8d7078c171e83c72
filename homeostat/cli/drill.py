"""`homeostat drill`: known defects in a copy of the platform's own source, mended for real."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from homeostat.cli.output import table
from homeostat.errors import HomeostatError

app = typer.Typer(help="Drills: known defects in a copy, mended for real.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print the whole story as JSON.")]


class DrillFailedError(HomeostatError):
    """Something in the drill was not as expected."""


@app.callback()
def _group() -> None:
    """Drills: known defects in a copy of the platform's own source, mended for real."""


@app.command("seed")
def seed(*, as_json: AsJson = False) -> None:
    """Boot the platform with two defects, mend them, boot, injure it again, mend from knowledge.

    Exit code 0 only where every expectation held. Takes about a minute.
    """
    _refuse_without_tools()
    from homeostat.repair.drill import seed as story

    _tell(story.drill(), as_json=as_json)


@app.command("trading")
def trading(*, as_json: AsJson = False) -> None:
    """Mend a module that cannot be imported and a constructor called with unknown arguments.

    Exit code 0 only where every expectation held.
    """
    _refuse_without_tools()
    from homeostat.repair.drill import trading as story

    _tell(story.drill(), as_json=as_json)


def _refuse_without_tools() -> None:
    """Raise DrillFailedError where the drill cannot tell anything on this machine."""
    from importlib.util import find_spec

    from homeostat.repair.sandbox import Isolation, detect_isolation

    if detect_isolation() is not Isolation.BUBBLEWRAP:
        raise DrillFailedError(
            "The drill needs bubblewrap, without which nothing is proven; install the package "
            "`bubblewrap`, or see `homeostat doctor`."
        )
    if find_spec("pytest") is None:
        raise DrillFailedError("The drill runs a test; install pytest into this environment.")


def _tell(story: dict[str, Any], *, as_json: bool) -> None:
    expectations: list[dict[str, Any]] = story["expectations"]
    if as_json:
        typer.echo(json.dumps(story, indent=2))
    else:
        table(
            "Drill",
            ("expected", "held", "seen"),
            [(one["what"], "passed" if one["held"] else "failed", one["seen"])
             for one in expectations],
        )  # fmt: skip
    missed = [one for one in expectations if not one["held"]]
    if missed:
        sys.stdout.flush()
        first = missed[0]
        raise DrillFailedError(
            f"{len(missed)} of {len(expectations)} expectations did not hold; the first: "
            f"{first['what']} (seen: {first['seen'][:300]})."
        )
