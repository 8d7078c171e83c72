"""Whether a model's losses, its inputs or its market are no longer what they were.

The detectors are deterministic in the order of the losses. The outcomes are rows of the store,
so a detector's state is had by running it over them: nothing of it needs to be pickled.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import JsonValue

from homeostat.trading.market.panel import Floats, Panel
from homeostat.trading.models import features
from homeostat.trading.models.features import INPUT_BARS

#: ADWIN's confidence (Bifet and Gavaldà, 2007), and after how many losses it looks: each one.
ADWIN_DELTA, ADWIN_CLOCK = 0.002, 1
#: Page–Hinkley: tolerated change of the mean, and the sum from which it is drift.
PAGE_DELTA, PAGE_LAMBDA = 0.005, 5.0
#: Losses that Page–Hinkley takes in before it judges, as in river.
PAGE_WARM_UP = 30
#: A population stability index above this is another population (Siddiqi, 2006).
PSI_SHIFT = 0.25
#: Fewer observations of a feature than this say nothing of its population.
PSI_LEAST = 1_000
_BINS = 10
#: A market this many times wilder or calmer than the one trained on is another regime; so is one
#: whose symbols move together by this much more or less.
REGIME_RATIO, REGIME_CORRELATION = 2.0, 0.25
#: Bars that the present regime is read from: four hours.
REGIME_BARS = 240


def adwin(losses: Sequence[float]) -> list[int]:
    """Return after which losses ADWIN found drift; it begins anew after each.

    The detector is river's own compiled one. It is taken from where the library keeps it, because
    `river.drift` brings SciPy's statistics and data sets: 100 MB in every ticking process.
    """
    window: Any = importlib.import_module("river._river_rust.drift").AdaptiveWindowing
    settings = {"max_buckets": 5, "min_window_length": 5, "grace_period": 10}
    found = []
    detector = window(delta=ADWIN_DELTA, clock=ADWIN_CLOCK, **settings)
    for place, loss in enumerate(losses):
        if detector.update(loss):
            found.append(place)
            detector = window(delta=ADWIN_DELTA, clock=ADWIN_CLOCK, **settings)
    return found


def page_hinkley(losses: Sequence[float]) -> list[int]:
    """Return after which losses the two-sided Page–Hinkley test found drift, as river's does."""
    found = []
    count, mean, up, down, least, most = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    for place, loss in enumerate(losses):
        count += 1
        mean += (loss - mean) / count
        up += loss - mean - PAGE_DELTA
        down += loss - mean + PAGE_DELTA
        least, most = min(least, up), max(most, down)
        if count >= PAGE_WARM_UP and max(up - least, most - down) > PAGE_LAMBDA:
            found.append(place)
            count, mean, up, down, least, most = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    return found


def population(panel: Panel) -> Floats:
    """Return (k, 12) features of the newest bars of the k symbols that lack none and move."""
    close, volume = panel.close[:, -INPUT_BARS:], panel.volume[:, -INPUT_BARS:]
    fit = np.isfinite(close).all(axis=1) & (np.ptp(np.nan_to_num(close), axis=1) > 0)
    return features.features(close[fit], volume[fit])


def reference(rows: Floats) -> dict[str, JsonValue]:
    """Return the populations of (k, 12) features: quantile edges and the share in each bin."""
    found: dict[str, JsonValue] = {}
    for name, column in zip(features.NAMES, rows.T, strict=True):
        edges = np.quantile(column, np.linspace(0, 1, _BINS + 1)[1:-1])
        shares = counts(column, edges) / len(column)
        found[name] = {"edges": edges.tolist(), "shares": shares.tolist()}
    return found


def counts(values: Floats, edges: Sequence[float] | Floats) -> Floats:
    """Return (10,) how many of the values fall into each bin."""
    places = np.searchsorted(np.asarray(edges), values)
    found: Floats = np.bincount(places, minlength=_BINS).astype(np.float64)
    return found


def psi(expected: Sequence[float] | Floats, seen: Sequence[float] | Floats) -> float:
    """Return the population stability index of bin counts against the expected shares."""
    was = np.maximum(np.asarray(expected, dtype=np.float64), 1e-4)
    is_ = np.maximum(np.asarray(seen, dtype=np.float64) / max(float(np.sum(seen)), 1.0), 1e-4)
    return float(((is_ - was) * np.log(is_ / was)).sum())


def regime(panel: Panel) -> dict[str, JsonValue]:
    """Return how wild the market is (deviation a minute) and how much its symbols move as one."""
    returns = panel.log_returns()
    returns = returns[np.isfinite(returns).all(axis=1)]
    deviation = returns.std(axis=1)
    moving = deviation > 0
    if not moving.any():
        return {"deviation": 0.0, "correlation": 0.0}
    unit = (returns[moving] - returns[moving].mean(axis=1, keepdims=True)) / deviation[moving, None]
    count = len(unit)
    # The mean of all pairs follows from the variance of the mean.
    together = float((unit.mean(axis=0) ** 2).mean()) * count
    correlation = (together - 1) / (count - 1) if count > 1 else 0.0
    return {"deviation": float(np.median(deviation[moving])), "correlation": correlation}


def regime_changed(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether the market is another one than that which was trained on."""
    if not was.get("deviation") or not now.get("deviation"):
        return False
    ratio = float(now["deviation"]) / float(was["deviation"])
    moved = abs(float(now["correlation"]) - float(was["correlation"]))
    return not 1 / REGIME_RATIO <= ratio <= REGIME_RATIO or moved > REGIME_CORRELATION
