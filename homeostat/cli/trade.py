"""`homeostat trade`: barriers by hand, a backtest, and the doors to the book and the venue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from homeostat.cli import book, venue
from homeostat.cli.output import Format, Output, show

app = typer.Typer(help="The trading subsystems' decisions, by hand.", no_args_is_help=True)
app.add_typer(book.app)
app.add_typer(venue.app, name="venue")


@app.callback()
def _group() -> None:
    """The trading subsystems' decisions, by hand."""


@app.command("tpsl")
def tpsl(
    *,
    confidence: Annotated[float, typer.Option(help="0 to 1.")],
    policy: Annotated[str, typer.Option(help="tiered or volatility.")] = "tiered",
    score: Annotated[float | None, typer.Option(help="Signal strength; else confidence.")] = None,
    volatility: Annotated[float | None, typer.Option(help="As a fraction; else 0.02.")] = None,
    output: Output = Format.TEXT,
) -> None:
    """Take-profit, stop-loss, trailing stop and partial size of one signal, in percent."""
    from homeostat.trading import dynamic_tpsl

    found = dynamic_tpsl.tpsl(confidence, policy=policy, score=score, volatility=volatility)
    show(found, output, "Barriers")


@app.command("barriers")
def barriers(
    *,
    data: Annotated[Path, typer.Option(help="A file or folder of one-minute candles.")],
    confidence: Annotated[float, typer.Option(min=0, max=1, help="Of every entry.")] = 0.75,
    output: Output = Format.TEXT,
) -> None:
    """How often target, stop or neither is touched within 60 recorded minutes, by policy."""
    from homeostat.trading import barrier_outcomes

    rows = [one.as_json() for one in barrier_outcomes.touched(data, confidence)]
    show(rows, output, "Barriers on recorded bars")


@app.command("backtest")
def backtest(
    *,
    data: Annotated[Path, typer.Option(help="A file or folder of one-minute candles.")],
    policy: Annotated[str, typer.Option(help="volatility, tiered, or both.")] = "volatility",
    floor: Annotated[
        float, typer.Option(min=0, max=1, help="Least confidence of an entry.")
    ] = 0.65,
    universe: Annotated[
        bool | None,
        typer.Option("--universe/--all-symbols", help="Filter symbols; else where several are."),
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Trade recorded data with all costs; expectancy with its interval, and no promise."""
    from homeostat.cli.backtest_run import run_backtest
    from homeostat.trading.dynamic_tpsl import BarrierInputError, Policy

    if policy not in {*Policy, "both"}:
        raise BarrierInputError(f"There is no policy {policy!r}; name volatility, tiered or both.")
    names = list(Policy) if policy == "both" else [Policy(policy)]
    found = run_backtest(data, names, floor=floor, universe=universe)
    show(found[0] if len(found) == 1 else found, output, "Backtest")
