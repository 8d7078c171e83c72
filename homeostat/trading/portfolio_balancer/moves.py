"""How the symbols move together: clusters, and what a trade adds to the book's variance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from homeostat.trading.market.panel import Floats

Singles = NDArray[np.float32]

#: A returns' correlation from which two symbols are one cluster.
CLUSTER_CORRELATION = 0.7
#: Bars over which variance is reckoned: those of the time barrier.
HORIZON_BARS = 60


class Moves:
    """The log returns of n symbols, worked out when the first question is asked.

    `returns` gives (n, t) log returns of one-minute bars, row i for `symbols[i]`.
    """

    def __init__(self, symbols: Sequence[str], returns: Callable[[], Floats]) -> None:
        self._symbols, self._returns = symbols, returns

    @cached_property
    def _centred(self) -> Floats:
        filled = self._returns()
        # What is missing makes its sum so: one pass where all is there, and nearly always it is.
        if not np.isfinite(filled.sum()):
            filled = np.nan_to_num(filled)
        centred: Floats = filled - filled.mean(axis=1, keepdims=True)
        return centred

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {symbol: row for row, symbol in enumerate(self._symbols)}

    @cached_property
    def _directions(self) -> Singles:
        return directions(self._centred)

    def cluster_of(self, symbol: str, otherwise: int) -> int:
        """Return the symbol's cluster, or `otherwise` where its returns are not known."""
        row = self._rows.get(symbol)
        return otherwise if row is None else cluster(self._directions, row)

    def added_variance(self, symbol: str, weight: float, held: Mapping[str, float]) -> float:
        """Return what `weight` of `symbol` adds to the variance of the held weights.

        Weights are signed notionals, so the result is in money squared over the time barrier.
        What is held and has no returns here is taken to move with the symbol: that is dearer.
        """
        row = self._rows.get(symbol)
        if row is None:
            return 0.0
        own = self._centred[row]
        bars = max(len(own) - 1, 1)
        variance = float(own @ own) / bars
        shared = 0.0
        for other, amount in held.items():
            place = self._rows.get(other)
            if place is None:
                shared += abs(amount) * variance * np.sign(weight)
            else:
                shared += amount * float(own @ self._centred[place]) / bars
        return HORIZON_BARS * (weight**2 * variance + 2 * weight * shared)


def directions(centred: Floats) -> Singles:
    """Return centred rows scaled to length one: the product of two is their correlation."""
    length = np.sqrt(np.einsum("ij,ij->i", centred, centred))[:, None]
    found: Singles = (centred / np.maximum(length, 1e-300)).astype(np.float32)
    return found


def cluster(rows: Singles, row: int) -> int:
    """Return the row's cluster: the first of `directions` that it is strongly correlated with.

    A row that stands still is like nobody, itself included: it is a cluster of its own.
    """
    alike = rows[:row] @ rows[row] >= CLUSTER_CORRELATION
    return int(alike.argmax()) if alike.any() else row
