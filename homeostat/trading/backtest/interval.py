"""How surely the mean result of a trade is known, and what that allows to say."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from homeostat.trading.market.panel import Floats

#: Trades opened within the same four hours, of whatever symbols, are not independent.
BLOCK_S = 4 * 3_600
#: Nor are those of one day where there are days enough to tell.
DAY_S, LEAST_DAYS = 86_400, 10
#: Results that differ by less than this share of themselves are one and the same.
_SAME = 1e-9
#: Fewer trades show nothing: of results that are either a stop or a target, Student's interval
#: leaves the true mean out too often.
LEAST_TRADES = 20


def half_width(r: Floats, opened: Sequence[int]) -> float:
    """Return the half width of the mean's 95 % interval; infinite where nothing can be said.

    `r` (n,) are the results, `opened` the epoch seconds of their entries. It is the widest of
    three: as if all trades were independent, as if only blocks of four hours were, as if only
    days were. Under two trades, of results that are all equal, and of trades of the same four
    hours alone, the spread is not known.
    """
    count = len(r)
    if count < 2 or float(np.ptp(r)) <= _SAME * float(np.abs(r).max()):
        return math.inf
    widest = _times(count) * float(r.std(ddof=1)) / math.sqrt(count)
    for seconds, least in ((BLOCK_S, 2), (DAY_S, LEAST_DAYS)):
        groups, error = _in_blocks(r, np.array(opened) // seconds)
        if groups >= least:
            widest = max(widest, _times(groups) * error)
        elif seconds == BLOCK_S:
            return math.inf
    return widest


def _in_blocks(r: Floats, blocks: np.ndarray) -> tuple[int, float]:
    """Return how many blocks there are, and the mean's error where only these are independent."""
    _, place = np.unique(blocks, return_inverse=True)
    groups = int(place.max()) + 1
    sums = np.bincount(place, weights=r - r.mean())
    scale = groups / max(groups - 1, 1)
    return groups, math.sqrt(float((sums**2).sum()) * scale) / len(r)


def _times(count: int) -> float:
    """Return Student's 97.5 % point: few trades or few blocks know their own spread badly."""
    return float(stdtrit(count - 1, 0.975))


def conclusion(count: int, mean: float, error: float) -> str:
    """Return in words what so many trades with this mean and half width have shown."""
    if not math.isfinite(error):
        return (
            f"nothing was shown: {count} {'trade' if count == 1 else 'trades'}, equal or of the "
            "same hours, say nothing of their spread"
        )
    if abs(mean) <= error:
        return "nothing was shown: the interval contains zero"
    if count < LEAST_TRADES:
        return f"nothing was shown: {count} trades are too few, {LEAST_TRADES} are needed"
    return f"an expectancy {'above' if mean > 0 else 'below'} zero was shown on these data"
