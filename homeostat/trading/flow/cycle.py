"""One cycle of the trade flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import JsonValue
from sqlalchemy import bindparam, insert, select
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import aware, new_id
from homeostat.settings import Settings
from homeostat.store import trading as store
from homeostat.store.prepared import Prepared
from homeostat.store.trading import PAPER, Book, DecisionCycle, EquityPoint, Position
from homeostat.trading.flow import entries, evidence, exits
from homeostat.trading.flow.batch import Batch
from homeostat.trading.flow.ground import Ground
from homeostat.trading.flow.journal import journal
from homeostat.trading.flow.opening import Desk, open_trades
from homeostat.trading.flow.parties import Parties
from homeostat.trading.market import port
from homeostat.trading.market.panel import Panel
from homeostat.trading.signals import Agent, EwmaModel

LOOKBACK = 240
_CYCLE = DecisionCycle.__table__.c
_RAN = Prepared(select(_CYCLE.id).where(_CYCLE.book == PAPER, _CYCLE.due_at == bindparam("due_at")))
_POINT = Prepared(
    insert(EquityPoint.__table__),  # type: ignore[arg-type]  # a model's table is a Table at run time
    *EquityPoint.__table__.c.keys(),
)


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
    careful: bool = True,
) -> Summary | None:
    """Run the flow for the tick that was due; None where that tick has run already.

    The caller commits; where another worker ran the same tick at the same time, IntegrityError is
    raised and nothing of this one may remain. `panel` may be given where it was read before the
    session was opened. Without `careful` a subsystem that fails raises PartyFailedError: the
    caller rolls back and runs the tick again with care.
    """
    due_at = aware(due_at)
    market = port.market(settings)
    seen = panel if panel is not None else market.panel(due_at, LOOKBACK)
    if has_run(session, due_at):
        return None
    # The lock on the book orders cycles among each other and every reservation after them.
    book = store.book_of(session, PAPER, lock=True)
    # What happens to book and positions is written at the end, all of it at once.
    with session.no_autoflush:
        tick = _Tick(session, due_at, market, seen, book)
        return _run(tick, Parties(session, find, careful=careful))


@dataclass(frozen=True)
class _Tick:
    """One cycle to be run on a book that is locked."""

    session: Session
    due_at: datetime
    market: port.Market
    panel: Panel
    book: Book


def _run(tick: _Tick, parties: Parties) -> Summary:
    session = tick.session
    listed = tick.market.listed
    ground = Ground.read(session, tick.due_at)
    floor = exits.Floor(session, tick.panel, listed, parties, ground)
    done = exits.manage(floor, PAPER)
    model = parties.ask("trading.retraining_orchestrator", lambda one: one.model(session))
    batch = entries.decide(session, tick.panel, model, ground, parties)
    desk = Desk(session, new_id(), PAPER, listed, parties, tick.due_at, locked=True)
    open_trades(batch, desk, ground.directive)
    rules = journal(
        session,
        batch,
        cycle_id=desk.cycle_id,
        due_at=tick.due_at,
        book=PAPER,
        inputs=_inputs(tick.market.source, batch, model, ground) | {"adds": floor.asked},
        counts={"away": parties.away, "closed": [one.rule for one in done.closed]},
    )
    return Summary(
        desk.cycle_id,
        len(batch),
        len(batch.opened),
        len(done.closed),
        done.adds,
        rules,
        _equity(session, tick.book, tick.due_at, [*done.held, *batch.opened]),
        dict(parties.away),
        batch.signals.digest(),
    )


def has_run(session: Session, due_at: datetime) -> bool:
    """Return whether the tick that was due then is in the journal."""
    return bool(_RAN.rows(session, due_at=due_at))


def _inputs(source: str, batch: Batch, model: Agent | None, ground: Ground) -> dict[str, Any]:
    """Return everything that the decisions of this cycle rest on."""
    return {
        "source": source,
        "newest_bar": int(batch.panel.times[-1]),
        "bars": len(batch.panel.times),
        "model": (model or EwmaModel()).reference(),
        "directive": ground.directive.version if ground.directive is not None else None,
        "universe": ground.universe.id if ground.universe is not None else None,
        "policy": ground.policy.id if ground.policy is not None else None,
        **evidence.written(ground, batch),
    }


def _equity(session: Session, book: Book, at: datetime, held: Iterable[Position]) -> float:
    """Mark the book to market, keep the point, and return the equity."""
    still_open = [one for one in held if one.closed_at is None]
    floating = sum(one.side * one.quantity * (one.mark - one.entry) for one in still_open)
    total = book.equity + floating
    if total > book.peak_equity:  # noqa: PLR1730  # setting it to itself would have it looked over
        book.peak_equity = total
    point = {"book": PAPER, "at": at, "equity": total, "open_positions": len(still_open)}
    _POINT.change(session, **point)
    return float(total)
