"""`homeostat trade`: what was decided and traded, why, and whether it comes out the same again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homeostat.cli.output import Format, Output, show
from homeostat.errors import HomeostatError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

app = typer.Typer()

#: `replay` exits with this where a decision came out otherwise.
DIFFERS = 3


_FIRST = datetime.min.replace(tzinfo=UTC)
_SINCE = "ISO 8601, UTC unless it says otherwise; else an hour before --to."
_UNTIL = "ISO 8601, UTC unless it says otherwise; else now."


def _moment(text: str | datetime) -> datetime:
    """Return the moment that is meant; as a command shows one, it is understood."""
    from homeostat.clock import from_iso

    try:
        return text if isinstance(text, datetime) else from_iso(text.strip())
    except (ValueError, OverflowError):
        wanted = "a valid datetime, such as 2026-01-31, 2026-01-31T12:00:00 or …T12:00:00+02:00"
        raise typer.BadParameter(f"{text!r} is not {wanted}.") from None


class Book(StrEnum):
    """The books that are kept: the one that trades, and the canary's that proves the flow."""

    PAPER = "paper"
    CANARY = "canary"


Named = Annotated[Book, typer.Option(help="canary: the trades that prove the flow.")]
Limit = Annotated[int, typer.Option(min=1, help="At most this many rows.")]


class SpanError(HomeostatError):
    """The span ends before it begins; give --from the earlier moment."""

    exit_code = 64


class NothingDecidedError(HomeostatError):
    """Nothing was decided in that span."""

    exit_code = 66


@contextmanager
def _journal() -> Iterator[Session]:
    """Open the store for reading; it is made first where nothing has run here yet."""
    from homeostat.store.database import migrate, reading

    migrate()
    with reading() as session:
        yield session


@app.command("positions")
def positions(*, book: Named = Book.PAPER, output: Output = Format.TEXT) -> None:
    """The open positions with their labels, advice and stops."""
    from homeostat.store import trading
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
    with _journal() as session:
        found = [
            {name: getattr(one, name) for name in names}
            | {"r": r_of(one, one.mark), "adds": one.adds, "decision": one.decision_id}
            for one in trading.open_positions(session, book)
        ]
    show(found, output, "Open positions")


@app.command("orders")
def orders(*, book: Named = Book.PAPER, limit: Limit = 50, output: Output = Format.TEXT) -> None:
    """The newest orders."""
    from homeostat.store.trading import Order

    names = ("client_id", "symbol", "kind", "side", "quantity", "trigger", "price", "state", "fee")
    show(_newest(Order, Order.book == book, Order.created_at, names, limit), output, "Orders")


@app.command("equity")
def equity(*, book: Named = Book.PAPER, limit: Limit = 50, output: Output = Format.TEXT) -> None:
    """The book's equity after each cycle, newest first."""
    from homeostat.store.trading import EquityPoint

    names = ("at", "equity", "open_positions")
    found = _newest(EquityPoint, EquityPoint.book == book, EquityPoint.at, names, limit)
    show(found, output, "Equity")


@app.command("decisions")
def decisions(
    *,
    limit: Limit = 50,
    rule: Annotated[str | None, typer.Option(help="Only those of this rule.")] = None,
    output: Output = Format.TEXT,
) -> None:
    """The newest decisions with their ids, for `explain`."""
    from sqlalchemy import select

    from homeostat.store.trading import Decision, decision_id

    statement = select(Decision).order_by(Decision.cycle_id.desc(), Decision.symbol).limit(limit)
    if rule is not None:
        statement = statement.where(Decision.rule == rule)
    names = ("rule", "side", "confidence", "price", "take_profit", "stop_loss")
    with _journal() as session:
        found = [
            {"id": decision_id(one.cycle_id, one.symbol)}
            | {name: getattr(one, name) for name in names}
            for one in session.scalars(statement)
        ]
    show(found, output, "Decisions")


@app.command("blocks")
def blocks(
    *,
    hours: Annotated[
        float, typer.Option(min=0.01, max=87_600, help="How far to look back.")
    ] = 24.0,
    book: Named = Book.PAPER,
    output: Output = Format.TEXT,
) -> None:
    """How many decisions each rule made."""
    from sqlalchemy import func, select

    from homeostat.clock import utcnow
    from homeostat.store.trading import Decision, DecisionCycle

    statement = (
        select(Decision.rule, func.count())
        .join(DecisionCycle, DecisionCycle.id == Decision.cycle_id)
        .where(
            DecisionCycle.book == book, DecisionCycle.due_at >= utcnow() - timedelta(hours=hours)
        )
        .group_by(Decision.rule)
        .order_by(func.count().desc())
    )
    with _journal() as session:
        found = [{"rule": one, "decisions": count} for one, count in session.execute(statement)]
    show(found, output, f"Decisions by rule, {hours:g} h")


@app.command("hooks")
def hooks(*, output: Output = Format.TEXT) -> None:
    """Which of the nine hooks the last canary saw fire."""
    from sqlalchemy import select

    from homeostat.store.trading import HookFiring

    with _journal() as session:
        last = session.scalar(select(HookFiring.run_id).order_by(HookFiring.id.desc()).limit(1))
        statement = select(HookFiring).where(HookFiring.run_id == last).order_by(HookFiring.id)
        found = [
            {"hook": one.hook, "fired": one.fired, "artefact": one.artefact, "run": one.run_id}
            for one in session.scalars(statement)
        ]
    show(found, output, "Hooks of the last canary")


@app.command("explain")
def explain(
    decision: Annotated[str, typer.Argument(help="The id that `decisions` shows.")],
    *,
    output: Output = Format.TEXT,
) -> None:
    """Why a decision was taken, in a sentence."""
    from homeostat.settings import settings
    from homeostat.trading import replay as replaying

    with _journal() as session:
        sentence = replaying.explain(session, decision, settings())
    typer.echo(json.dumps({"id": decision, "why": sentence}) if output is Format.JSON else sentence)


@app.command("replay")
def replay(
    *,
    start: Annotated[
        datetime | None, typer.Option("--from", parser=_moment, metavar="TIME", help=_SINCE)
    ] = None,
    end: Annotated[
        datetime | None, typer.Option("--to", parser=_moment, metavar="TIME", help=_UNTIL)
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Derive decisions, and what became of their positions, anew from journal and data.

    Exit code 3 where one comes out otherwise, or what one rested on is not as it was.
    """
    from homeostat.clock import utcnow
    from homeostat.settings import settings
    from homeostat.trading import replay as replaying

    until = end or utcnow()
    since = start or until - min(timedelta(hours=1), until - _FIRST)
    if since >= until:
        raise SpanError
    with _journal() as session:
        found = replaying.replay(session, settings(), since, until)
    if not (found.decisions or found.positions or found.changed):
        raise NothingDecidedError(
            f"Nothing was decided from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC; "
            "`homeostat trade equity` shows when something was."
        )
    report = found.as_json()
    if output is Format.JSON:
        show({"from": since.isoformat(), "to": until.isoformat(), **report}, output, "")
    else:
        counts = {name: value for name, value in report.items() if not isinstance(value, list)}
        show(counts, output, f"Replay from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M}")
        for name in ("differing", "positions_differing", "changed", "quoted"):
            if report[name]:
                show(report[name], output, name.replace("_", " ").capitalize())
    if not found.sound:
        raise typer.Exit(DIFFERS)


def _newest(model: Any, where: Any, by: Any, names: tuple[str, ...], limit: int) -> list[Any]:
    from sqlalchemy import select

    with _journal() as session:
        statement = select(model).where(where).order_by(by.desc()).limit(limit)
        return [{name: getattr(one, name) for name in names} for one in session.scalars(statement)]
