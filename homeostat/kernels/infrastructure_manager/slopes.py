"""A leak is a slope, not a threshold: robust trends over noisy samples.

A series leaks where it grows (Theil–Sen slope above a floor), where that growth is no accident of
noise (Mann–Kendall test), where even its low points rise (the last fifth of the window lies wholly
above the first), and where it goes on all the time: each fifth lies above the one before, and the
later half alone grows by as much as the floor, and not much slower than the earlier. A sawtooth
always comes down again, a table or a cache that fills, at once or in steps, stands still between
them, and what warms up grows ever slower; none of them is a leak.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import combinations, pairwise

#: Samples and time that a verdict needs.
LEAST_SAMPLES, LEAST_SPAN = 12, timedelta(minutes=8)
#: Slower growth is no leak: 0.4 MB a minute fills 1 GB in a day and a half.
LEAST_BYTES_PER_MINUTE = 400_000.0
#: One-sided 0.1 % of the normal distribution.
_SIGNIFICANT_Z = 3.09
_PARTS = 5
#: A step from fifth to fifth is growth where it is this share of the mean step. Of 500 leaks of
#: 1 MB a minute under noise of 0.8 MB, 491 are seen so within ten minutes and all within fifteen.
_LEAST_STEP = 1 / 8
#: Growth that slows to less than this share warms up: a worker's child that imports what its first
#: tasks need came to 0.13 to 0.26 after eight to ten minutes. None of the 491 leaks slowed as much.
_LEAST_PACE = 0.4

Sample = tuple[datetime, float]


def slope_per_minute(samples: Sequence[Sample]) -> float:
    """Return the Theil–Sen slope: the median over all pairs, per minute."""
    minute = timedelta(minutes=1)
    slopes = [
        (after - before) / ((later - earlier) / minute)
        for (earlier, before), (later, after) in combinations(samples, 2)
        if later > earlier
    ]
    return statistics.median(slopes) if slopes else 0.0


def trend_z(values: Sequence[float]) -> float:
    """Return the Mann–Kendall test's z: above 3.09 the rise is significant at 0.1 %."""
    count = len(values)
    signs = sum((b > a) - (b < a) for a, b in combinations(values, 2))
    variance = count * (count - 1) * (2 * count + 5) / 18
    return (signs - math.copysign(1, signs)) / math.sqrt(variance) if signs and variance else 0.0


def leak_per_minute(
    samples: Sequence[Sample], *, least: float = LEAST_BYTES_PER_MINUTE
) -> float | None:
    """Return the growth per minute where the series leaks, and None where it does not."""
    if len(samples) < LEAST_SAMPLES or samples[-1][0] - samples[0][0] < LEAST_SPAN:
        return None
    values = [value for _, value in samples]
    slope = slope_per_minute(samples)
    middle = len(samples) // 2
    at_first, lately = slope_per_minute(samples[:middle]), slope_per_minute(samples[middle:])
    if min(slope, lately) < least or trend_z(values) < _SIGNIFICANT_Z:
        return None
    if lately < _LEAST_PACE * at_first:
        return None
    part = max(2, len(values) // _PARTS)
    rises = min(values[-part:]) > max(values[:part])
    leaks = rises and _goes_on(values) and not _falls_back(values, slope, samples)
    return slope if leaks else None


def _goes_on(values: Sequence[float]) -> bool:
    """Return whether the median of every fifth of the window lies above that of the one before."""
    bounds = [len(values) * part // _PARTS for part in range(_PARTS + 1)]
    levels = [statistics.median(values[start:end]) for start, end in pairwise(bounds)]
    steps = [after - before for before, after in pairwise(levels)]
    return min(steps) > _LEAST_STEP * statistics.mean(steps)


def _falls_back(values: Sequence[float], slope: float, samples: Sequence[Sample]) -> bool:
    """Return whether the series ever gave back a third of all that it gained: a sawtooth does."""
    gained = slope * ((samples[-1][0] - samples[0][0]) / timedelta(minutes=1))
    smooth = [statistics.median(values[max(0, n - 1) : n + 2]) for n in range(len(values))]
    return any(before - after > gained / 3 for before, after in pairwise(smooth))


def exhausted_in_s(samples: Sequence[Sample], limit: float) -> float | None:
    """Return in how many seconds the trend reaches the limit; None where it does not head there."""
    if len(samples) < LEAST_SAMPLES or trend_z([value for _, value in samples]) < _SIGNIFICANT_Z:
        return None
    slope = slope_per_minute(samples)
    if slope <= 0:
        return None
    return max(0.0, (limit - samples[-1][1]) / slope * 60)
