"""One batch of symbols on its way through the gates: which rule has stopped which row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homeostat.store.trading import Position
from homeostat.trading.market.panel import Floats, Panel
from homeostat.trading.signals import Signals

OPENED = "OPENED"


@dataclass
class Batch:
    """The state of one batch as it passes the gates; rows are the panel's symbols."""

    panel: Panel
    signals: Signals
    volatility: Floats
    #: (4, n): take-profit, stop-loss, trail, partial; zero where none was set.
    barriers: Floats
    size: Floats
    #: (n,) place of each row's rule in `names`; 0 where no gate has stopped the row.
    codes: NDArray[np.int64]
    names: list[str] = field(default_factory=lambda: [""])
    opened: list[Position] = field(default_factory=list)
    #: What the gates were told by others, for the journal: a decision is derived anew from it.
    told: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, panel: Panel, found: Signals) -> Batch:
        """Return a batch that has passed no gate yet."""
        count = len(panel.symbols)
        zeros = np.zeros(count)
        codes = np.zeros(count, dtype=np.int64)
        return cls(panel, found, zeros, np.zeros((4, count)), zeros.copy(), codes)

    def __len__(self) -> int:
        """The number of symbols."""
        return len(self.codes)

    @property
    def rules(self) -> list[str]:
        """The rule of each row, empty where it is still open."""
        return [self.names[code] for code in self.codes.tolist()]

    def open_rows(self) -> NDArray[np.intp]:
        """Return the rows that no gate has stopped yet."""
        return np.flatnonzero(self.codes == 0)

    def stop(self, rows: NDArray[np.intp] | NDArray[np.bool_] | Sequence[int], rule: str) -> None:
        """Stop these rows (numbers, or a mask of all) by a rule; who is stopped stays so."""
        if rule not in self.names:
            self.names.append(rule)
        chosen = np.asarray(rows)
        if chosen.dtype == np.bool_:
            chosen = np.flatnonzero(chosen)
        elif not len(chosen):
            return
        self.codes[chosen[self.codes[chosen] == 0]] = self.names.index(rule)

    def stop_all(self, rule: str) -> None:
        """Stop every row that is still open."""
        self.stop(self.open_rows(), rule)

    def stop_each(self, rules: Sequence[str]) -> None:
        """Stop each row by its own rule; an empty one lets it pass."""
        given = np.array(rules)
        for rule in set(rules) - {""}:
            self.stop(given == rule, rule)

    def counts(self) -> dict[str, int]:
        """Return how many rows each rule has stopped."""
        found = np.bincount(self.codes, minlength=len(self.names)).tolist()
        return {name: count for name, count in zip(self.names, found, strict=True) if count}
