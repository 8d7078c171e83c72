"""The entries of one cycle: each journal row beside its derivation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from homeostat.store.trading import Decision, DecisionCycle, decision_id
from homeostat.trading import signals as agents
from homeostat.trading.flow.batch import Batch
from homeostat.trading.market import digest
from homeostat.trading.replay.compare import Replayed, difference
from homeostat.trading.replay.derive import Cycle

#: The columns of a journal row in the order of their fingerprint.
_NUMBERS = (
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


class Entries:
    """The rows of one cycle, in the order of its panel, and what of them is not as it was."""

    def __init__(self, cycle: Cycle, rows: Sequence[Decision], batch: Batch) -> None:
        self.cycle, self.batch = cycle, batch
        self.order = {symbol: at for at, symbol in enumerate(self.cycle.panel.symbols)}
        last = len(self.order)
        self.rows = sorted(rows, key=lambda one: self.order.get(one.symbol, last))
        self.data, self.journal = unlike_data(self.cycle), self._forged()

    def changes(self) -> Iterator[tuple[str, str]]:
        """Yield (step, what) for bars and rows that are not as they were."""
        for one in sorted(self.data):
            yield "data", f"the bars of {one} are not those that were read"
        for one in sorted(self.journal):
            yield "journal", f"the row of {one} is not as it was written"
        missing = sorted(self.order.keys() - {one.symbol for one in self.rows})
        for one in missing:
            yield "journal", f"the row of {one} is gone"
        counted = dict(Counter(one.rule for one in self.rows))
        told = self.cycle.row.counts["rules"]
        if not (self.journal or missing) and counted != told:
            yield "journal", f"the rules were counted as {told}, and the rows have {counted}"

    def replayed(self) -> Iterator[Replayed]:
        """Yield each row with the first step at which it differs."""
        for one in self.rows:
            at = self.order.get(one.symbol)
            if at is None:
                yield other(self.cycle.row, one, "data", "the symbol is not in the data")
                continue
            step, how = difference(one, self.batch, at)
            if step and one.symbol in self.journal:
                step = "journal"
            elif step and one.symbol in self.data:
                step = "data"
            yield other(self.cycle.row, one, step, how)

    def _forged(self) -> set[str]:
        """Return the symbols whose journal rows are not as they were written."""
        symbols = self.cycle.panel.symbols
        was = dict(zip(symbols, digest.unpacked(self.cycle.told["rows"]).tolist(), strict=False))
        numbers = [[float(getattr(one, name)) for one in self.rows] for name in _NUMBERS]
        written = np.array(numbers, dtype=np.float64)
        now = digest.row_marks(written, [one.rule for one in self.rows])
        pairs = zip(self.rows, now.tolist(), strict=True)
        return {one.symbol for one, mark in pairs if was.get(one.symbol) != mark}


def unlike_data(cycle: Cycle) -> set[str]:
    """Return the symbols whose bars are not those that the cycle read."""
    was, now = digest.unpacked(cycle.told["data"]), digest.marks(cycle.panel)
    if len(was) != len(now):
        return set(cycle.panel.symbols)
    return {cycle.panel.symbols[at] for at in np.flatnonzero(was != now)}


def signals_only(cycle: Cycle, rows: Sequence[Decision]) -> Iterator[Replayed]:
    """Yield what an older journal tells enough of: the signals."""
    order = {symbol: at for at, symbol in enumerate(cycle.panel.symbols)}
    found = agents.signals(cycle.panel, cycle.row.due_at, cycle.model)
    for one in sorted(rows, key=lambda one: order.get(one.symbol, len(order))):
        at: Any = order.get(one.symbol)
        how = "the symbol is not in the data" if at is None else ""
        if at is not None and one.side != found.side[at]:
            how = f"side {one.side}, and now {found.side[at]}"
        elif at is not None and abs(one.confidence - found.confidence[at]) > 1e-12:
            how = f"confidence {one.confidence:.9g}, and now {found.confidence[at]:.9g}"
        yield other(cycle.row, one, "signal" if how else "", how)


def other(cycle: DecisionCycle, row: Decision, step: str, how: str) -> Replayed:
    """Return a row that differs at a step, or the same where there is none."""
    return Replayed(decision_id(cycle.id, row.symbol), row.rule, not step, step, how)
