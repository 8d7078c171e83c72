"""When an open position has to be looked at: the live rules are silent in the minutes between.

The exits of the flow let every bar happen that closed since they last looked, so nothing is lost
by looking later, unless a bar would have moved, ended, halved or relabelled the position. Which
bars may do that is asked of all that follow at once; where it is in doubt, it is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from homeostat.store.trading import Position
from homeostat.trading.market.panel import BAR_S, Floats, Instrument, Panel
from homeostat.trading.market.spread import RECENT, USUAL, widths
from homeostat.trading.position_intelligence import (
    LOSER_R,
    SPREAD_BLOW_OUT,
    TOXIC_BARS,
    TOXIC_COSTS,
    TOXIC_R,
    WINNER_R,
    Advice,
    Label,
)
from homeostat.trading.venue import FUNDING_EVERY, HORIZON_BARS

#: A bar this near to a threshold is looked at: the same sum may round to either side of it.
_HAIR = 1e-9
#: Minutes whose spread is read at once.
_AT_ONCE = 2_048
_PERIOD_S = int(FUNDING_EVERY.total_seconds())


class Glances:
    """Says of the positions in one stretch when they have to be looked at next.

    A moment is told as the number of the stretch's columns that have closed by then.
    """

    def __init__(self, whole: Panel, listed: Mapping[str, Instrument]) -> None:
        self._whole, self._listed = whole, listed
        self._rows = {symbol: row for row, symbol in enumerate(whole.symbols)}
        self._blown: dict[int, NDArray[np.bool_]] = {}
        self._begin = int(whole.times[0])
        #: The costs that each position was last seen with, and after how many bars first.
        self._costs: dict[str, tuple[float, int]] = {}

    def after(self, position: Position, end: int) -> int:
        """Return after how many columns to look next, where it was looked at after `end`."""
        row = self._rows.get(position.symbol)
        band = _calm(position) if self._weighed(position) else None
        stop = min(end + HORIZON_BARS - position.bars, self._funded(position))
        if row is None:
            return len(self._whole.times)
        if band is None or stop <= end + 1 or end >= len(self._whole.times):
            return end + 1
        events = self._events(position, row, slice(end, stop), band)
        first = int(events.argmax())
        return end + first + 1 if events[first] else stop

    def _weighed(self, position: Position) -> bool:
        """Return whether position intelligence has seen all costs, or would not mind them.

        It has once a bar came after the last fill, and its label says what it thought of them.
        """
        costs, since = self._costs.get(position.symbol, (math.nan, 0))
        if costs == position.costs:
            return position.bars > since
        self._costs[position.symbol] = (position.costs, position.bars)
        if position.bars:
            return False
        slipped = abs(position.entry - position.mark) * position.quantity
        risk = position.risk_per_unit * position.first_quantity
        return position.costs + slipped <= (TOXIC_COSTS - _HAIR) * risk

    def _funded(self, position: Position) -> int:
        """Return after how many columns a bar charges funding."""
        marked = int(position.marked_at.timestamp())
        charged = (marked // _PERIOD_S + 1) * _PERIOD_S
        return (charged - self._begin) // BAR_S

    def _events(
        self, position: Position, row: int, cut: slice, band: tuple[float, float]
    ) -> NDArray[np.bool_]:
        """Return which of the columns may change the position; one without a bar does not."""
        whole, side = self._whole, position.side
        high, low = whole.high[row, cut], whole.low[row, cut]
        against, toward = (low, high) if side > 0 else (high, low)
        r = side * (whole.close[row, cut] - position.entry) / position.risk_per_unit
        found: NDArray[np.bool_] = (
            (r <= band[0])
            | (r >= band[1])
            | (side * (against - position.stop) <= 0)
            | (side * (toward - position.take_profit) >= 0)
            | self._wide(row)[cut]
        )
        return found

    def _wide(self, row: int) -> NDArray[np.bool_]:
        """Return after which columns the symbol's spread was blown out."""
        known = self._blown.get(row)
        if known is None:
            usual = self._listed[self._whole.symbols[row]].half_spread
            known = self._blown[row] = _blown_out(self._whole, row, usual)
        return known


def _calm(position: Position) -> tuple[float, float] | None:
    """Return the results in R within which a bar leaves the position as it is, if there are any.

    Position intelligence labels by thresholds, and a label holds as long as it is seen again. Of a
    safe position nothing is wanted, and of a loser that was halved nothing more.
    """
    if position.label != position.pending_label:
        return None
    if position.label == Label.SAFE and position.advice == Advice.HOLD:
        # Who has given back what he once was up by is protected.
        calm = position.peak_r < WINNER_R
        return (LOSER_R + _HAIR, WINNER_R - _HAIR) if calm else None
    if position.label == Label.LOSER and position.quantity <= position.first_quantity / 2:
        early = position.bars < TOXIC_BARS
        return (TOXIC_R + _HAIR if early else -math.inf, LOSER_R - _HAIR)
    return None


def _blown_out(whole: Panel, row: int, usual: float) -> NDArray[np.bool_]:
    """Ask the live rule for the spread of each minute, many minutes at once."""
    width = RECENT + USUAL
    found = np.zeros(len(whole.times), dtype=np.bool_)
    for start in range(0, len(found), _AT_ONCE):
        stop = min(start + _AT_ONCE, len(found))
        asked = range(stop - start)
        minutes = Panel(
            tuple(map(str, asked)),
            whole.times[:width],
            *(
                _windows(getattr(whole, name)[row], start, stop, width)
                for name in ("open", "high", "low", "close", "volume")
            ),
        )
        spread = widths(minutes, asked, np.full(len(asked), usual))
        found[start:stop] = spread >= SPREAD_BLOW_OUT - _HAIR
    return found


def _windows(values: Floats, start: int, stop: int, width: int) -> Floats:
    """Return (m, width): what was seen after each of the columns, NaN before the first."""
    first = start - width + 1
    missing = np.full(max(-first, 0), np.nan)
    seen = np.concatenate([missing, values[max(first, 0) : stop]])
    return sliding_window_view(seen, width)
