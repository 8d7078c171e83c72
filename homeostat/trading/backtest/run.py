"""Drives the flow minute by minute over a stretch of recorded candles, in a store of its own.

Signals, gates, barriers, reservations, the paper venue's orders, trailing stops, position
intelligence and profit amplification are the live ones. What is assumed instead of asked: a
directive in mode NORMAL, a safety policy that allows, and a governance that says yes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.errors import MarketDataError
from homeostat.store import trading as store
from homeostat.store.base import Base
from homeostat.store.trading import CANARY, Directive, ModelRecord, Order, Position
from homeostat.store.trading.book import FIRST_EQUITY
from homeostat.store.trading.rules import PolicyHead, UniverseHead
from homeostat.trading import venue
from homeostat.trading.backtest.result import Costs, Result, Trade
from homeostat.trading.backtest.stretches import stretches
from homeostat.trading.dynamic_tpsl import Policy, tiered_arrays
from homeostat.trading.flow import LOOKBACK, entries, exits, opening
from homeostat.trading.flow.floor import Floor
from homeostat.trading.flow.ground import Ground
from homeostat.trading.flow.parties import Parties
from homeostat.trading.market import candles
from homeostat.trading.market.panel import BAR_S, Instrument, Panel
from homeostat.trading.signals import Agent, EwmaModel
from homeostat.trading.venue import Closed

if TYPE_CHECKING:
    from homeostat.trading.model_supervisor import ModelSupervisor
    from homeostat.trading.universe_os import UniverseOs

#: The fewest bars before the first decision: what volatility and universe are read from.
WINDOW = 130
#: Bars between two filters of the universe, and two judgements of the model.
FILTER_BARS, JUDGE_BARS = 240, 60
MOST_POSITIONS = 8
#: The one book that never meets an outside venue, whatever the settings say.
BOOK = CANARY
_EVER = datetime.max.replace(tzinfo=UTC)


def backtest(
    data: Path,
    *,
    policy: Policy = Policy.VOLATILITY,
    floor: float = 0.65,
    model: Agent | None = None,
    universe: bool | None = None,
) -> Result:
    """Trade everything recorded below `data` out of one book; raises MarketDataError.

    `floor` is the least confidence. `universe` says whether symbols are filtered; unless said,
    they are where there are several: one series that was named leaves nothing to choose.
    """
    recording = candles.read_path(data)
    series = recording.series
    filtered = len(series) > 1 if universe is None else universe
    with _own_store() as session:
        desk = _Run(session, policy, _directive(floor), model or EwmaModel(), filtered)
        for panel in stretches(series):
            desk.trade(panel)
        if not desk.minutes:
            raise MarketDataError(
                f"{data} holds no {WINDOW + 1} minutes without an hour's silence between them; "
                "name a longer recording."
            )
        book = store.book_of(session, BOOK)
        return Result(
            policy.value,
            desk.trades,
            bars=sum(len(one) for one in series),
            series=len(series),
            minutes=desk.minutes,
            blocks=desk.blocks,
            excluded=desk.excluded,
            passed_over=recording.passed_over,
            equity=book.equity,
            drawdown=desk.drawdown,
        )


@contextmanager
def _own_store() -> Iterator[Session]:
    """Give a store in memory, so that no backtest touches what the live flow has written."""
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
        session.rollback()
    engine.dispose()


def _directive(floor: float) -> Directive:
    return Directive(
        version=0,
        issued_at=datetime.min.replace(tzinfo=UTC),
        expires_at=_EVER,
        mode="NORMAL",
        health="HEALTHY",
        allow_new_trades=True,
        reduce_global_risk=False,
        scale_position_sizes=1.0,
        min_confidence=floor,
        max_positions=MOST_POSITIONS,
        max_leverage=20.0,
        max_concentration=0.30,
        reasons={},
    )


def _find(policy: Policy) -> Callable[[str], Any]:
    """Return how the flow finds its parties: the live ones, but for what is assumed."""
    assumed: dict[str, Any] = {
        "kernels.governance": SimpleNamespace(
            decide=lambda *_args, **_kwargs: SimpleNamespace(allowed=True)
        )
    }
    if policy is Policy.TIERED:
        assumed["trading.dynamic_tpsl"] = SimpleNamespace(
            barriers=lambda confidence, volatility: tiered_arrays(confidence, None, volatility)
        )
    return lambda name: assumed.get(name) or registry.find(name)


@dataclass
class _Run:
    """One backtest in progress."""

    session: Session
    policy: Policy
    directive: Directive
    model: Agent
    filtered: bool
    trades: list[Trade] = field(default_factory=list)
    blocks: Counter[str] = field(default_factory=Counter)
    excluded: Counter[str] = field(default_factory=Counter)
    drawdown: float = 0.0
    minutes: int = 0
    held: set[str] = field(default_factory=set)
    _peak: float = FIRST_EQUITY

    def __post_init__(self) -> None:
        self.parties = Parties(self.session, _find(self.policy), careful=False)

    def trade(self, whole: Panel) -> None:
        """Let every minute of the panel happen, and close what is open at its end."""
        listed = {symbol: Instrument(symbol, base=symbol) for symbol in whole.symbols}
        last = len(whole.times)
        universe: UniverseHead | None = None
        for end in range(WINDOW, last + 1):
            panel = whole.window(max(0, end - LOOKBACK), end)
            if (end - WINDOW) % FILTER_BARS == 0:
                universe = self._universe(panel, listed)
            if (end - WINDOW) % JUDGE_BARS == 0:
                self._judge()
            at = datetime.fromtimestamp(int(panel.times[-1]) + BAR_S, tz=UTC)
            ground = Ground(
                at, frozenset(), PolicyHead("", _EVER, "ALLOW_ALL"), self.directive, universe
            )
            self._exits(Floor(self.session, panel, listed, self.parties, ground))
            if end < last:
                self.minutes += 1
                self._entries(panel, ground, listed)
        for position in store.open_positions(self.session, BOOK):
            closed = venue.close(
                self.session, position, position.mark, "DATA_END", listed[position.symbol]
            )
            if closed is not None:
                exits.finish(self.session, closed, self.parties)
                self._note(closed)

    def _universe(self, panel: Panel, listed: dict[str, Instrument]) -> UniverseHead:
        priced = np.asarray(np.isfinite(panel.close).any(axis=1))
        seen = panel.rows(priced)
        universe_os = cast("UniverseOs", registry.find("trading.universe_os"))
        found = universe_os.examine([listed[symbol] for symbol in seen.symbols], seen)
        self.excluded.update(found.excluded.values() if self.filtered else ())
        mode = "ENFORCED" if self.filtered else "OBSERVE"
        passed = found.passed if self.filtered else tuple(listed)
        return UniverseHead("", _EVER, mode, frozenset(passed))

    def _judge(self) -> None:
        record = self.session.get(ModelRecord, self.model.name)
        if record is not None:
            supervisor = cast("ModelSupervisor", registry.find("trading.model_supervisor"))
            supervisor.judge(self.session, record)

    def _exits(self, floor: Floor) -> None:
        if not self.held:
            return
        # What a minute marks need not be written before the next one is read: half the time.
        with self.session.no_autoflush:
            done = exits.manage(floor, BOOK)
        for closed in done.closed:
            self._note(closed)

    def _has_room(self, panel: Panel) -> bool:
        """Return whether anything could be opened: the balancer would deny the rest anyway."""
        if len(self.held) >= MOST_POSITIONS:
            return False
        priced = np.flatnonzero(np.isfinite(panel.close[:, -1]))
        return any(panel.symbols[row] not in self.held for row in priced.tolist())

    def _entries(self, panel: Panel, ground: Ground, listed: dict[str, Instrument]) -> None:
        if not self._has_room(panel):
            return
        batch = entries.decide(self.session, panel, self.model, ground, self.parties)
        desk = opening.Desk(
            self.session,
            str(int(panel.times[-1])),
            BOOK,
            listed,
            self.parties,
            ground.at,
            locked=True,
        )
        opening.open_trades(batch, desk, self.directive)
        self.blocks.update(batch.counts())
        self.held |= {position.symbol for position in batch.opened}

    def _note(self, closed: Closed) -> None:
        position: Position = closed.position
        self.held.discard(position.symbol)
        notional = position.entry * position.first_quantity
        net = (position.realised - position.costs) / notional
        self.trades.append(
            Trade(
                position.symbol,
                int(position.opened_at.timestamp()),
                position.side,
                closed.rule,
                closed.r,
                net,
                position.bars,
                position.adds,
                self._costs(position),
            )
        )
        equity = store.book_of(self.session, BOOK).equity
        self._peak = max(self._peak, equity)
        self.drawdown = max(self.drawdown, (self._peak - equity) / self._peak)

    def _costs(self, position: Position) -> Costs:
        statement = select(func.sum(Order.fee), func.sum(Order.slippage)).where(
            Order.decision_id == position.decision_id, Order.state == "FILLED"
        )
        fees, slippage = self.session.execute(statement).one()
        risk = position.risk_per_unit * position.first_quantity
        return Costs(fees / risk, slippage / risk, (position.costs - fees) / risk)
