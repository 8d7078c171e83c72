"""What the trained models read of a symbol: numbers without a unit, from the last 48 bars alone.

Everything is in deviations of the symbol's own one-minute returns, so that one model fits symbols
of any price and any wildness. No feature looks ahead: row t is made of bars up to t.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from homeostat.trading.market.panel import Floats

#: Bars that a model reads, and bars that it looks ahead.
INPUT_BARS, HORIZON_BARS = 48, 60
#: Contiguous bars without which no model is asked about a symbol (the specification's rule).
NEED_BARS = INPUT_BARS + HORIZON_BARS
NAMES = (
    "momentum_fast",
    "momentum_slow",
    "return_1",
    "return_5",
    "return_15",
    "return_47",
    "calm_to_wild",
    "place_in_range",
    "autocorrelation",
    "skew",
    "share_of_rises",
    "volume_surge",
)
_STEPS = (1, 5, 15, INPUT_BARS - 1)
_TINY = 1e-12
#: A feature further out than this says no more than that it is far out.
_FAR = 10.0


def windows(values: Floats, ends: np.ndarray) -> Floats:
    """Return (n, m, 48): of (n, t) values the 48 that end before each of `ends` (m,)."""
    view = np.lib.stride_tricks.sliding_window_view(values, INPUT_BARS, axis=1)
    return view[:, ends - INPUT_BARS]


@lru_cache(maxsize=16)
def weights(span: float) -> Floats:
    """Return (48,) weights of an exponential mean that halve every `span` bars; read-only."""
    falling = 0.5 ** (np.arange(INPUT_BARS)[::-1] / span)
    found: Floats = falling / falling.sum()
    found.flags.writeable = False
    return found


def momentum(price: Floats, fast: float, slow: float) -> Floats:
    """Return (…,) the difference of two exponential means of log prices (…, 48), in deviations."""
    deviation = np.diff(price, axis=-1).std(axis=-1)
    found: Floats = (price @ (weights(fast) - weights(slow))) / np.maximum(deviation, _TINY)
    return found


def features(close: Floats, volume: Floats) -> Floats:
    """Return (…, 12) features of closes and volumes (…, 48), in the order of `NAMES`."""
    price = np.log(close)
    steps = np.diff(price, axis=-1)
    deviation = np.maximum(steps.std(axis=-1), _TINY)
    unit = (steps - steps.mean(axis=-1, keepdims=True)) / deviation[..., None]
    low, high = price.min(axis=-1), price.max(axis=-1)
    traded = np.nan_to_num(volume)
    columns = [
        momentum(price, 4.0, 24.0),
        momentum(price, 8.0, 40.0),
        *((price[..., -1] - price[..., -1 - k]) / (deviation * np.sqrt(k)) for k in _STEPS),
        np.log(np.maximum(steps[..., -10:].std(axis=-1), _TINY) / deviation),
        (price[..., -1] - low) / np.maximum(high - low, _TINY),
        (unit[..., 1:] * unit[..., :-1]).mean(axis=-1),
        (unit**3).mean(axis=-1),
        (steps > 0).mean(axis=-1),
        np.log((traded[..., -5:].mean(axis=-1) + _TINY) / (traded.mean(axis=-1) + _TINY)),
    ]
    found: Floats = np.clip(np.stack(columns, axis=-1), -_FAR, _FAR)
    return found
