"""What a model's record says of it: a one-sided bias, its health, its rank."""

from __future__ import annotations

import math
from typing import NamedTuple

#: Fewer signals prove no bias; above this share of one side, and unlikely by chance, they do.
BIAS_SIGNALS, BIAS_SHARE, BIAS_CHANCE = 20, 0.70, 0.05
#: Signals of either side, and the bin counts of features, forget by this much a tick: half of
#: them is an hour and ten old. A bias of yesterday blocks nothing today.
FORGET = 0.99
#: Calibration errors from which a model is degraded, and critical.
CALIBRATION_ERRORS = (0.10, 0.20)
#: Fewer outcomes than this say nothing of a model's health.
LEAST_OUTCOMES = 20


class Tally(NamedTuple):
    """What the flow is told when it has had a batch of a model's signals counted.

    `side` must not be taken, 0 where either may be. `judged` are the faded signals (longs, shorts)
    that the verdict was reached on, None where there is none yet; `counted` those after this batch.
    Only an `enforced` verdict blocks.
    """

    side: int
    model: str
    enforced: bool
    judged: tuple[float, float] | None
    counted: tuple[float, float]


def blocked_side(longs: float, shorts: float) -> int:
    """Return the side (1, -1) that a biased model loses, or 0; faded counts are rounded."""
    whole = round(longs), round(shorts)
    total, most = sum(whole), max(whole)
    if total < BIAS_SIGNALS or most / total <= BIAS_SHARE:
        return 0
    # Binomial test, two-sided, by the normal approximation with continuity where it is large.
    if total <= 200:
        tail = sum(math.comb(total, k) for k in range(most, total + 1)) / 2**total
    else:
        tail = 0.5 * math.erfc((most - 0.5 - total / 2) / math.sqrt(total / 2))
    if 2 * tail >= BIAS_CHANCE:
        return 0
    return 1 if longs > shorts else -1


def rank_of(win_rate: float, mean_r: float, error: float, profit_factor: float) -> float:
    """Return the model's rank: .35 wins, .35 result, .20 calibration, .10 profit factor."""
    return (
        0.35 * win_rate
        + 0.35 * max(0.0, mean_r)
        + 0.20 * (1 - error)
        + 0.10 * min(profit_factor, 10.0) / 10
    )


def health_of(outcomes: int, error: float, *, drifted: bool, biased: bool) -> str:
    """Return UNKNOWN, HEALTHY, DEGRADED or CRITICAL; `error` is the calibration error."""
    if outcomes < LEAST_OUTCOMES:
        return "UNKNOWN"
    low, high = CALIBRATION_ERRORS
    if error > high and drifted:
        return "CRITICAL"
    return "DEGRADED" if drifted or biased or error > low else "HEALTHY"
