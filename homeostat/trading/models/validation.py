"""What a model has to show: purged walk-forward folds, and a Sharpe ratio deflated for luck."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

from homeostat.trading.market.panel import Floats

_NORMAL = NormalDist()
#: Euler–Mascheroni, for the expected maximum of several tries.
_EULER = 0.5772156649015329
CALIBRATION_BINS = 10


def walk_forward(count: int, folds: int, embargo: int) -> Iterator[tuple[slice, slice]]:
    """Yield (train, test) slices of `count` bars in order of time.

    Between them lie `embargo` bars that belong to neither: a label that looks `embargo` bars
    ahead from the end of the training part would otherwise have seen the test part.
    """
    step = count // (folds + 1)
    for fold in range(1, folds + 1):
        start = fold * step
        if start - embargo > 0:
            yield slice(0, start - embargo), slice(start, min(start + step, count))


def sharpe(returns: Floats) -> float:
    """Return mean over deviation per trade, not annualised; 0 where nothing varies."""
    deviation = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return float(returns.mean()) / deviation if deviation else 0.0


def deflated_sharpe(returns: Floats, tries: int, variance_of_tries: float) -> float:
    """Return the probability that the true Sharpe ratio is above what luck gives.

    Bailey and López de Prado (2014): the best of `tries` ratios with that variance is expected
    to reach a height by chance alone; skew and kurtosis widen the error of the estimate.
    """
    count = len(returns)
    found = sharpe(returns)
    if count < 10 or found == 0.0:
        return 0.0
    lucky = 0.0
    if tries > 1:
        high = _NORMAL.inv_cdf(1 - 1 / tries)
        higher = _NORMAL.inv_cdf(1 - 1 / (tries * math.e))
        lucky = math.sqrt(variance_of_tries) * ((1 - _EULER) * high + _EULER * higher)
    unit = (returns - returns.mean()) / returns.std()
    skew, kurtosis = float((unit**3).mean()), float((unit**4).mean())
    width = 1 - skew * found + (kurtosis - 1) / 4 * found**2
    return _NORMAL.cdf((found - lucky) * math.sqrt(count - 1) / math.sqrt(max(width, 1e-9)))


def brier(confidence: Floats, won: Floats) -> float:
    """Return the mean squared error of the probabilities."""
    return float(((confidence - won) ** 2).mean())


def calibration_error(confidence: Floats, won: Floats) -> float:
    """Return the expected calibration error over ten bins of confidence."""
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    error = 0.0
    for one in np.unique(bins):
        inside = bins == one
        error += inside.mean() * abs(confidence[inside].mean() - won[inside].mean())
    return float(error)
