"""`homeostat trade`: barriers by hand, the book, the journal, replay and backtest."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from homeostat.cli import venue
from homeostat.cli.output import Format, Output, table

app = typer.Typer(help="The trading subsystems' decisions, by hand.", no_args_is_help=True)
app.add_typer(venue.app, name="venue")

#: `replay` exits with this where a decision came out otherwise.
DIFFERS = 3
Book = Annotated[str, typer.Option(help="paper, or canary for the trades that prove the flow.")]
Limit = Annotated[int, typer.Option(min=1, help="At most this many rows.")]


@app.callback()
def _group() -> None:
    """The trading subsystems' decisions, by hand."""


def _show(found: Any, output: Format, title: str) -> None:
    """Print as JSON, or as a table: of rows where it is a list, of keys and values otherwise."""
    if output is Format.JSON:
        typer.echo(json.dumps(found, default=str))
        return
    rows = found if isinstance(found, list) else [{"": k, "value": v} for k, v in found.items()]
    columns = list(rows[0]) if rows else ["nothing"]
    table(title, columns, [[_cell(row[name]) for name in columns] for row in rows])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return str(value)


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
    _show(found, output, "Barriers")


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
    _show(rows, output, "Barriers on recorded bars")


@app.command("positions")
def positions(*, book: Book = "paper", output: Output = Format.TEXT) -> None:
    """The open positions with their labels, advice and stops."""
    from homeostat.store import trading
    from homeostat.store.database import reading
    from homeostat.trading.position_intelligence import r_of

    names = (
        "symbol",
        "side",
        "quantity",
        "entry",
        "mark",
        "stop",
        "take_profit",
        "label",
        "advice",
    )
    with reading() as session:
        found = [
            {name: getattr(one, name) for name in names}
            | {"r": r_of(one, one.mark), "adds": one.adds, "decision": one.decision_id}
            for one in trading.open_positions(session, book)
        ]
    _show(found, output, "Open positions")


@app.command("orders")
def orders(*, book: Book = "paper", limit: Limit = 50, output: Output = Format.TEXT) -> None:
    """The newest orders."""
    from homeostat.store.trading import Order

    names = ("client_id", "symbol", "kind", "side", "quantity", "trigger", "price", "state", "fee")
    _show(_newest(Order, Order.book == book, Order.created_at, names, limit), output, "Orders")


@app.command("equity")
def equity(*, book: Book = "paper", limit: Limit = 50, output: Output = Format.TEXT) -> None:
    """The book's equity after each cycle, newest first."""
    from homeostat.store.trading import EquityPoint

    names = ("at", "equity", "open_positions")
    found = _newest(EquityPoint, EquityPoint.book == book, EquityPoint.at, names, limit)
    _show(found, output, "Equity")


@app.command("decisions")
def decisions(
    *,
    limit: Limit = 50,
    rule: Annotated[str | None, typer.Option(help="Only those of this rule.")] = None,
    output: Output = Format.TEXT,
) -> None:
    """The newest decisions with their ids, for `explain`."""
    from sqlalchemy import select

    from homeostat.store.database import reading
    from homeostat.store.trading import Decision, decision_id

    statement = select(Decision).order_by(Decision.cycle_id.desc(), Decision.symbol).limit(limit)
    if rule is not None:
        statement = statement.where(Decision.rule == rule)
    names = ("rule", "side", "confidence", "price", "take_profit", "stop_loss")
    with reading() as session:
        found = [
            {"id": decision_id(one.cycle_id, one.symbol)}
            | {name: getattr(one, name) for name in names}
            for one in session.scalars(statement)
        ]
    _show(found, output, "Decisions")


@app.command("blocks")
def blocks(
    *,
    hours: Annotated[float, typer.Option(min=0.01, help="How far to look back.")] = 24.0,
    output: Output = Format.TEXT,
) -> None:
    """How many decisions each rule made."""
    from sqlalchemy import func, select

    from homeostat.clock import utcnow
    from homeostat.store.database import reading
    from homeostat.store.trading import Decision, DecisionCycle

    statement = (
        select(Decision.rule, func.count())
        .join(DecisionCycle, DecisionCycle.id == Decision.cycle_id)
        .where(DecisionCycle.due_at >= utcnow() - timedelta(hours=hours))
        .group_by(Decision.rule)
        .order_by(func.count().desc())
    )
    with reading() as session:
        found = [{"rule": one, "decisions": count} for one, count in session.execute(statement)]
    _show(found, output, f"Decisions by rule, {hours:g} h")


@app.command("hooks")
def hooks(*, output: Output = Format.TEXT) -> None:
    """Which of the nine hooks the last canary saw fire."""
    from sqlalchemy import select

    from homeostat.store.database import reading
    from homeostat.store.trading import HookFiring

    with reading() as session:
        last = session.scalar(select(HookFiring.run_id).order_by(HookFiring.id.desc()).limit(1))
        statement = select(HookFiring).where(HookFiring.run_id == last).order_by(HookFiring.id)
        found = [
            {"hook": one.hook, "fired": one.fired, "artefact": one.artefact, "run": one.run_id}
            for one in session.scalars(statement)
        ]
    _show(found, output, "Hooks of the last canary")


@app.command("explain")
def explain(
    decision: Annotated[str, typer.Argument(help="The id that `decisions` shows.")],
    *,
    output: Output = Format.TEXT,
) -> None:
    """Why a decision was taken, in a sentence."""
    from homeostat.settings import settings
    from homeostat.store.database import reading
    from homeostat.trading import replay as replaying

    with reading() as session:
        sentence = replaying.explain(session, decision, settings())
    typer.echo(json.dumps({"id": decision, "why": sentence}) if output is Format.JSON else sentence)


@app.command("replay")
def replay(
    *,
    start: Annotated[datetime | None, typer.Option("--from", help="UTC; else an hour ago.")] = None,
    end: Annotated[datetime | None, typer.Option("--to", help="UTC; else now.")] = None,
    output: Output = Format.TEXT,
) -> None:
    """Derive decisions anew from journal and data.

    Exit code 3 where one comes out otherwise, or what one rested on is not as it was.
    """
    from homeostat.clock import aware, utcnow
    from homeostat.settings import settings
    from homeostat.store.database import reading
    from homeostat.trading import replay as replaying

    until = aware(end) if end else utcnow()
    since = aware(start) if start else until - timedelta(hours=1)
    with reading() as session:
        found = replaying.replay(session, settings(), since, until)
    report = found.as_json()
    if output is Format.JSON:
        _show({"from": since.isoformat(), "to": until.isoformat(), **report}, output, "")
    else:
        counts = {name: value for name, value in report.items() if not isinstance(value, list)}
        _show(counts, output, f"Replay from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M}")
        for name in ("differing", "changed"):
            if report[name]:
                _show(report[name], output, name.capitalize())
    if found.differing or found.changed:
        raise typer.Exit(DIFFERS)


@app.command("backtest")
def backtest(
    *,
    data: Annotated[Path, typer.Option(help="A file or folder of one-minute candles.")],
    policy: Annotated[str, typer.Option(help="volatility, tiered, or both.")] = "volatility",
    floor: Annotated[float, typer.Option(help="Least confidence of an entry.")] = 0.65,
    universe: Annotated[
        bool | None,
        typer.Option("--universe/--all-symbols", help="Filter symbols; else where several are."),
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Trade recorded data with all costs; expectancy with its interval, and no promise."""
    from homeostat.trading import backtest as testing
    from homeostat.trading.dynamic_tpsl import BarrierInputError, Policy

    if policy not in {*Policy, "both"}:
        raise BarrierInputError(f"There is no policy {policy!r}; name volatility, tiered or both.")
    names = list(Policy) if policy == "both" else [Policy(policy)]
    found = [
        testing.backtest(data, policy=one, floor=floor, universe=universe).as_json()
        for one in names
    ]
    _show(found[0] if len(found) == 1 else found, output, "Backtest")


def _newest(model: Any, where: Any, by: Any, names: tuple[str, ...], limit: int) -> list[Any]:
    from sqlalchemy import select

    from homeostat.store.database import reading

    with reading() as session:
        statement = select(model).where(where).order_by(by.desc()).limit(limit)
        return [{name: getattr(one, name) for name in names} for one in session.scalars(statement)]
