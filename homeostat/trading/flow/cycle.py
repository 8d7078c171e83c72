"""One cycle of the trade flow, and its journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import JsonValue
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import aware, new_id
from homeostat.settings import Settings
from homeostat.store import trading as store
from homeostat.store.trading import PAPER, Decision, DecisionCycle, Directive, EquityPoint
from homeostat.trading import signals as agents
from homeostat.trading.flow import entries, exits
from homeostat.trading.flow.entries import Batch
from homeostat.trading.flow.parties import Parties
from homeostat.trading.market import port
from homeostat.trading.market.panel import Panel
from homeostat.trading.signals import EwmaModel

LOOKBACK = 240
#: Where no directive is in force, entries are forbidden anyway; this floor is for the journal.
USUAL_FLOOR = 0.65


@dataclass(frozen=True)
class Summary:
    """What one cycle did. `rules` counts the decisions by rule."""

    cycle_id: str
    decisions: int
    opened: int
    closed: int
    adds: int
    rules: dict[str, int]
    equity: float
    away: dict[str, str] = field(default_factory=dict)
    abstained: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, JsonValue]:
        """Return the summary for logs and the command line."""
        return dict(vars(self))


def cycle(
    session: Session,
    due_at: datetime,
    settings: Settings,
    *,
    find: Callable[[str], Any] = registry.find,
    panel: Panel | None = None,
) -> Summary | None:
    """Run the flow for the tick that was due; None where that tick has run already.

    The caller commits; where another worker ran the same tick at the same time, the flush raises
    IntegrityError and nothing of this one remains. `panel` may be given where it was read before
    the session was opened.
    """
    due_at = aware(due_at)
    market = port.market(settings)
    seen = panel if panel is not None else market.panel(due_at, LOOKBACK)
    if has_run(session, due_at):
        return None
    parties = Parties(session, find)
    listed = {one.symbol: one for one in market.instruments}
    # The lock on the book orders cycles among each other and every reservation after them.
    store.book_of(session, PAPER, lock=True)
    rule, directive = entries.global_rule(session, due_at)
    mode = directive.mode if directive is not None else "CRITICAL"
    done = exits.manage(session, PAPER, seen, listed, parties, mode, may_add=not rule)
    model = parties.ask("trading.retraining_orchestrator", lambda one: one.model(session))
    cycle_id = new_id()
    batch = _decide(session, due_at, seen, model, rule, directive, parties, cycle_id)
    _journal_head(session, cycle_id, due_at, PAPER, seen, batch, model, directive, market.source)
    entries.open_trades(batch, session, cycle_id, PAPER, directive, listed, parties, due_at)
    rules = journal(session, cycle_id, batch)
    equity = _equity(session, due_at)
    summary = Summary(
        cycle_id,
        len(batch.rules),
        len(batch.opened),
        len(done.closed),
        done.adds,
        rules,
        equity,
        dict(parties.away),
        batch.signals.digest(),
    )
    head = session.get_one(DecisionCycle, cycle_id)
    head.counts = {"rules": rules, "away": parties.away, "closed": [c.rule for c in done.closed]}
    session.flush()
    return summary


def has_run(session: Session, due_at: datetime) -> bool:
    """Return whether the tick that was due then is in the journal."""
    known = select(DecisionCycle.id).where(
        DecisionCycle.book == PAPER, DecisionCycle.due_at == due_at
    )
    return session.scalar(known) is not None


def _decide(
    session: Session,
    at: datetime,
    panel: Panel,
    model: EwmaModel | None,
    rule: str,
    directive: Directive | None,
    parties: Parties,
    cycle_id: str,
) -> Batch:
    """Pass the batch through every gate up to the reservation."""
    del cycle_id
    batch = entries.batch_of(panel, agents.signals(panel, at, model))
    if rule:
        batch.stop(range(len(batch.rules)), rule)
    if model is None:
        batch.stop(range(len(batch.rules)), "RETRAINING_AWAY")
    entries.gate_universe(batch, session, at, parties)
    floor = directive.min_confidence if directive is not None else USUAL_FLOOR
    entries.gate_signals(batch, session, floor, parties)
    entries.gate_barriers(batch, parties)
    return batch


def _journal_head(
    session: Session,
    cycle_id: str,
    at: datetime,
    book: str,
    panel: Panel,
    batch: Batch,
    model: EwmaModel | None,
    directive: Directive | None,
    source: str,
) -> None:
    universe, policy = store.latest_universe(session), store.latest_policy(session)
    agent = model or EwmaModel()
    session.add(
        DecisionCycle(
            id=cycle_id,
            due_at=at,
            book=book,
            inputs={
                "source": source,
                "newest_bar": int(panel.times[-1]),
                "bars": len(panel.times),
                "model": {"name": batch.signals.model, **vars(agent)},
                "directive": directive.version if directive is not None else None,
                "universe": universe.id if universe is not None else None,
                "policy": policy.id if policy is not None else None,
            },
            counts={},
        )
    )
    session.flush()


def journal(session: Session, cycle_id: str, batch: Batch) -> dict[str, int]:
    """Write one row per symbol, all in one statement, and return the counts by rule."""
    columns = (
        batch.panel.symbols,
        batch.rules,
        batch.signals.side.tolist(),
        batch.signals.confidence.tolist(),
        [price if price == price else 0.0 for price in batch.panel.close[:, -1].tolist()],  # noqa: PLR0124  # NaN is not equal to itself
        batch.volatility.tolist(),
        *batch.barriers.tolist(),
        batch.size.tolist(),
    )
    names = (
        "symbol",
        "rule",
        "side",
        "confidence",
        "price",
        "volatility",
        "take_profit",
        "stop_loss",
        "trail",
        "partial",
        "size",
    )
    rows = [
        {"cycle_id": cycle_id, "approved": values[1] == entries.OPENED}
        | dict(zip(names, values, strict=True))
        for values in zip(*columns, strict=True)
    ]
    session.execute(insert(Decision.__table__), rows)  # type: ignore[arg-type]  # the Core insert skips the ORM's bookkeeping per row
    return dict(Counter(batch.rules))


def _equity(session: Session, at: datetime) -> float:
    """Mark the book to market, keep the point, and return the equity."""
    book = store.book_of(session, PAPER)
    held = store.open_positions(session, PAPER)
    floating = sum(one.side * one.quantity * (one.mark - one.entry) for one in held)
    total = book.equity + floating
    book.peak_equity = max(book.peak_equity, total)
    session.add(EquityPoint(book=PAPER, at=at, equity=total, open_positions=len(held)))
    session.flush()
    return float(total)
