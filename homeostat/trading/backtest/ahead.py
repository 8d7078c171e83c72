"""What the model says of many minutes at once, and what the flow makes of a minute by that alone.

The flow decides at each minute, and the supervisor judges the model once a minute; a backtest
asks the gates only where something could be opened. What both would have counted in the minutes
between is counted here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from homeostat.trading import signals as agents
from homeostat.trading.flow import LOOKBACK
from homeostat.trading.market import port
from homeostat.trading.market.panel import BAR_S, Floats, Panel
from homeostat.trading.model_supervisor.rules import FORGET, blocked_side
from homeostat.trading.signals import Agent, Signals

#: Symbols times minutes that the model is asked about at once.
_AT_ONCE = 4_096
#: A signal this near to the floor is left to the flow: the same sum may round to either side.
_HAIR = 1e-9


class Minute(NamedTuple):
    """How many symbols there are of each kind: rising or falling, and surely so."""

    longs: int = 0
    shorts: int = 0
    sure_longs: int = 0
    sure_shorts: int = 0
    #: Those that the flow might find sure.
    near_longs: int = 0
    near_shorts: int = 0
    abstained: int = 1


class Ahead:
    """Reads the signals of a stretch ahead; moments are numbers of columns that have closed."""

    def __init__(self, model: Agent, floor: float, *, enforced: bool) -> None:
        self._model, self._floor, self._enforced = model, floor, enforced
        self._longs = self._shorts = 0.0
        self._counted, self._end_s = 0, 0
        self._read: list[Minute] = []
        self._first = 0

    def begin(self, whole: Panel, first: int) -> None:
        """Take up a stretch, whose minutes count once `first` columns have closed."""
        silent = (int(whole.times[0]) - self._end_s) // BAR_S + first
        self._longs, self._shorts = self._longs * FORGET**silent, self._shorts * FORGET**silent
        self._whole, self._counted, self._end_s = whole, first, int(whole.times[-1])
        self._read, self._first = [], first

    def blocked(self, end: int) -> int:
        """Return the side that the supervisor blocks at that moment, or 0."""
        if not self._enforced:
            return 0
        for moment in range(self._counted, end):
            minute = self._minute(moment)
            self._longs = FORGET * self._longs + minute.sure_longs
            self._shorts = FORGET * self._shorts + minute.sure_shorts
        self._counted = max(self._counted, end)
        return blocked_side(self._longs, self._shorts)

    def stopped(self, end: int, blocked: int) -> Mapping[str, int]:
        """Return how many symbols each rule stops where their signals alone stop all of them.

        Nothing is returned where the flow has to be asked.
        """
        minute = self._minute(end)
        open_longs = minute.near_longs if blocked <= 0 else 0
        open_shorts = minute.near_shorts if blocked >= 0 else 0
        if minute.abstained or open_longs or open_shorts:
            return {}
        biased = {1: minute.longs, -1: minute.shorts, 0: 0}[blocked]
        silent = len(self._whole.symbols) - minute.longs - minute.shorts
        found = {
            "NO_SIGNAL": silent,
            "BIAS_BLOCKED": biased,
            "CONFIDENCE_FLOOR": minute.longs + minute.shorts - biased,
        }
        return {rule: count for rule, count in found.items() if count}

    def _minute(self, end: int) -> Minute:
        while end - self._first >= len(self._read):
            start = self._first + len(self._read)
            count = max(_AT_ONCE // len(self._whole.symbols), 1)
            stop = min(start + count, len(self._whole.times) + 1)
            if start < self._model.need:
                self._first, self._read = start, [Minute()] * (self._model.need - start)
            else:
                self._first, self._read = start, self._minutes(start, stop)
        return self._read[end - self._first]

    def _minutes(self, start: int, stop: int) -> list[Minute]:
        found = self._signals(start, stop)
        shape = (len(self._whole.symbols), stop - start)
        side, confidence = found.side.reshape(shape), found.confidence.reshape(shape)
        rises, falls = side > 0, side < 0
        sure, near = confidence >= self._floor, confidence >= self._floor - _HAIR
        abstained = np.array([bool(one) for one in found.abstained]).reshape(shape)
        counts = (rises, falls, rises & sure, falls & sure, rises & near, falls & near, abstained)
        columns = (one.sum(axis=0).tolist() for one in counts)
        return [Minute(*one) for one in zip(*columns, strict=True)]

    def _signals(self, start: int, stop: int) -> Signals:
        """Return the signals of all symbols when `start` to `stop` - 1 columns have closed."""
        whole, need = self._whole, self._model.need

        def seen(values: Floats) -> Floats:
            windows = sliding_window_view(values, need, axis=1)[:, start - need : stop - need]
            return windows.reshape(-1, need)

        # Where the minute's whole panel tells of no volume at all, volume does not count.
        silent = np.tile(_silent(whole, start, stop), len(whole.symbols))
        # A row more, which was traded, lets the volume of all the others count.
        volume = np.concatenate(
            [np.where(silent[:, None], 1.0, seen(whole.volume)), [[1.0] * need]]
        )

        def prices(values: Floats) -> Floats:
            return np.concatenate([seen(values), np.ones((1, need))])

        stack = Panel(
            (*np.repeat(whole.symbols, stop - start).tolist(), ""),
            whole.times[:need],
            prices(whole.open),
            prices(whole.high),
            prices(whole.low),
            prices(whole.close),
            volume,
        )
        found = agents.signals(stack, port.moment_of(int(stack.times[-1]) + BAR_S), self._model)
        return Signals(found.model, found.side[:-1], found.confidence[:-1], found.abstained[:-1])


def _silent(whole: Panel, start: int, stop: int) -> NDArray[np.bool_]:
    """Return (m,) whether nothing was traded in all that the flow sees of each minute."""
    first = max(start - LOOKBACK, 0)
    traded = (whole.volume[:, first : stop - 1] > 0).any(axis=0)
    sums = np.concatenate([[0], np.cumsum(traded)])
    ends = np.arange(start, stop) - first
    found: NDArray[np.bool_] = sums[ends] == sums[np.maximum(ends - LOOKBACK, 0)]
    return found
