"""Drives the live flow minute by minute over stretches of recorded candles.

A minute at which nothing can be opened, and no open position can change, is passed by: what the
flow would have counted in it is counted all the same (`ahead`), and the bars of the positions
happen to them when they are next looked at (`glances`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.settings import Mode, settings
from homeostat.store import trading as store
from homeostat.store.trading import CANARY, Directive, ModelRecord, Order, Position
from homeostat.store.trading.book import FIRST_EQUITY
from homeostat.store.trading.rules import PolicyHead, UniverseHead
from homeostat.trading import venue
from homeostat.trading.backtest.ahead import Ahead
from homeostat.trading.backtest.glances import Glances
from homeostat.trading.backtest.pruning import prune
from homeostat.trading.backtest.result import Costs, Trade
from homeostat.trading.flow import LOOKBACK, entries, exits, opening
from homeostat.trading.flow.floor import Floor
from homeostat.trading.flow.ground import Ground
from homeostat.trading.flow.parties import Parties
from homeostat.trading.market.panel import BAR_S, Instrument, Panel
from homeostat.trading.signals import Agent
from homeostat.trading.venue import Closed

if TYPE_CHECKING:
    from homeostat.trading.model_supervisor import ModelSupervisor
    from homeostat.trading.universe_os import UniverseOs

#: The fewest bars before the first decision: what volatility and universe are read from.
WINDOW = 130
#: Bars between two filters of the universe.
FILTER_BARS = 240
MOST_POSITIONS = 8
#: The one book that never meets an outside venue, whatever the settings say.
BOOK = CANARY
#: Minutes from one word about the progress to the next, and trades that the store may keep.
TELL_EVERY, PRUNE_EVERY = 1_000, 500
EVER = datetime.max.replace(tzinfo=UTC)
_PAID = select(func.sum(Order.fee), func.sum(Order.slippage)).where(
    Order.decision_id == bindparam("decision"), Order.state == "FILLED"
)
_RECORDS: Any = ModelRecord.__table__
_BLOCK = (
    update(_RECORDS)
    .where(_RECORDS.c.model == bindparam("name"))
    .values(blocked_side=bindparam("side"))
)


@dataclass
class Driver:
    """One backtest in progress: its book, its open positions, and what came of the others."""

    session: Session
    parties: Parties
    directive: Directive
    model: Agent
    listed: Mapping[str, Instrument]
    #: Whether the universe filters symbols.
    filtered: bool
    #: Asked for a symbol and a moment: whether its series goes on after that bar.
    goes_on: Callable[[str, int], bool]
    #: Told how many minutes have passed since the last time.
    tell: Callable[[int], None]
    trades: list[Trade] = field(default_factory=list)
    blocks: Counter[str] = field(default_factory=Counter)
    excluded: Counter[str] = field(default_factory=Counter)
    drawdown: float = 0.0
    minutes: int = 0
    #: When to look at each open position next, in columns of the stretch that have closed.
    _looks: dict[str, int] = field(default_factory=dict)
    _peak: float = FIRST_EQUITY
    _blocked: int = 0
    _pruned: int = 0

    def __post_init__(self) -> None:
        """Begin with what the supervisor knows of the model: nothing."""
        enforced = settings().mode is Mode.ENFORCED
        self._ahead = Ahead(self.model, self.directive.min_confidence, enforced=enforced)
        supervisor = cast("ModelSupervisor", registry.find("trading.model_supervisor"))
        supervisor.observe(self.session, self.model.name, 0, 0, {})
        self._universe = UniverseHead("", EVER, "OBSERVE", frozenset(self.listed))

    @property
    def holds(self) -> bool:
        """Whether a position is open."""
        return bool(self._looks)

    def trade(self, whole: Panel) -> None:
        """Let every minute of a stretch happen; positions are held over the silence after it."""
        last = len(whole.times)
        self._begin(whole)
        for end in range(1 if self._looks else WINDOW, last + 1):
            if end % TELL_EVERY == 0:
                self._passed(TELL_EVERY)
            if self._looks and (end == last or end >= min(self._looks.values())):
                self._exits(end)
            if WINDOW <= end < last:
                self.minutes += 1
                if self.filtered and (end - WINDOW) % FILTER_BARS == 0:
                    self._filter(end)
                if self._has_room(end):
                    self._entries(end)
        self._passed(last % TELL_EVERY)

    def _passed(self, minutes: int) -> None:
        self.tell(minutes)
        if len(self.trades) - self._pruned >= PRUNE_EVERY:
            prune(self.session)
            self._pruned = len(self.trades)

    def _begin(self, whole: Panel) -> None:
        self._whole = whole
        self._rows = {symbol: row for row, symbol in enumerate(whole.symbols)}
        self._priced: NDArray[np.bool_] = np.isfinite(whole.close.T)
        self._glances = Glances(whole, self.listed)
        self._ahead.begin(whole, WINDOW)
        for position in store.open_positions(self.session, BOOK) if self._looks else ():
            self._looks[position.symbol] = self._glances.after(position, 0)

    def _moment(self, end: int) -> tuple[Panel, Ground]:
        """Return what the flow sees when `end` columns have closed, and the rules in force."""
        panel = self._whole.window(max(0, end - LOOKBACK), end)
        at = datetime.fromtimestamp(int(panel.times[-1]) + BAR_S, tz=UTC)
        allowed = PolicyHead("", EVER, "ALLOW_ALL")
        return panel, Ground(at, frozenset(), allowed, self.directive, self._universe)

    def _filter(self, end: int) -> None:
        panel, _ = self._moment(end)
        seen = panel.rows(np.asarray(np.isfinite(panel.close).any(axis=1)))
        universe_os = cast("UniverseOs", registry.find("trading.universe_os"))
        found = universe_os.examine([self.listed[symbol] for symbol in seen.symbols], seen)
        self.excluded.update(found.excluded.values())
        self._universe = UniverseHead("", EVER, "ENFORCED", frozenset(found.passed))

    def _exits(self, end: int) -> None:
        panel, ground = self._moment(end)
        # What a minute marks need not be written before the next one is read: half the time.
        with self.session.no_autoflush:
            done = exits.manage(Floor(self.session, panel, self.listed, self.parties, ground), BOOK)
        for closed in done.closed:
            self._note(closed)
        ended = set()
        for position in done.held:
            if self._looks[position.symbol] > end and end < len(self._whole.times):
                continue
            self._looks[position.symbol] = self._glances.after(position, end)
            if not self.goes_on(position.symbol, int(position.marked_at.timestamp()) - BAR_S):
                ended.add(position.symbol)
        if ended:
            self._close(ended)

    def _close(self, ended: set[str]) -> None:
        """Close the positions of these symbols at their last price: there is no other."""
        for position in store.open_positions(self.session, BOOK):
            if position.symbol not in ended:
                continue
            instrument = self.listed[position.symbol]
            closed = venue.close(self.session, position, position.mark, "DATA_END", instrument)
            if closed is not None:
                exits.finish(self.session, closed, self.parties)
                self._note(closed)

    def _has_room(self, end: int) -> bool:
        """Return whether anything could be opened: the balancer would deny the rest anyway."""
        if len(self._looks) >= min(MOST_POSITIONS, len(self.listed)):
            return False
        priced = self._priced[end - 1]
        held = [self._rows[symbol] for symbol in self._looks if symbol in self._rows]
        return int(priced.sum()) > int(priced[held].sum())

    def _entries(self, end: int) -> None:
        blocked = self._ahead.blocked(end)
        if not self.filtered and (stopped := self._ahead.stopped(end, blocked)):
            self.blocks.update(stopped)
            return
        self._block(blocked)
        panel, ground = self._moment(end)
        batch = entries.decide(self.session, panel, self.model, ground, self.parties)
        desk = opening.Desk(
            self.session,
            str(int(panel.times[-1])),
            BOOK,
            self.listed,
            self.parties,
            ground.at,
            locked=True,
        )
        opening.open_trades(batch, desk, self.directive)
        self.blocks.update(batch.counts())
        for position in batch.opened:
            self._looks[position.symbol] = self._glances.after(position, end)

    def _block(self, side: int) -> None:
        """Let the supervisor block the side that it would have judged the model biased to."""
        if side != self._blocked:
            named = {"name": self.model.name, "side": side}
            self.session.connection().execute(_BLOCK, named)
            self._blocked = side

    def _note(self, closed: Closed) -> None:
        position: Position = closed.position
        self._looks.pop(position.symbol)
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
        asked = {"decision": position.decision_id}
        self.session.flush()
        fees, slippage = self.session.connection().execute(_PAID, asked).one()
        risk = position.risk_per_unit * position.first_quantity
        return Costs(fees / risk, slippage / risk, (position.costs - fees) / risk)
