"""The spread of the last minutes in its usual widths, estimated from the bars.

Candles hold no quotes. A wide spread makes closes bounce between bid and ask around the middle of
the range, which Abdi and Ranaldo's estimator (2017) reads: S² = 4·E[(c − m)(c − m')], where m is
the middle of a bar's log range and m' that of the next.
"""

from __future__ import annotations

import numpy as np

from homeostat.trading.market.panel import Floats, Panel

#: Bars of the present spread, and of the usual one.
RECENT, USUAL = 15, 120


def width(panel: Panel, row: int, half_spread: float) -> float:
    """Return the symbol's present spread as a multiple of its usual one, at least 1.

    The usual one is what the exchange lists (`half_spread`, of the price) or what the bars before
    showed, whichever is wider; a stretch without bars, or of no measurable spread, is usual.
    """
    cut = slice(-RECENT - USUAL, None)
    high, low, close = (np.log(x[row, cut]) for x in (panel.high, panel.low, panel.close))
    middle = (high + low) / 2
    products = 4 * (close[:-1] - middle[:-1]) * (close[:-1] - middle[1:])
    recent, before = _root(products[-RECENT:]), _root(products[:-RECENT])
    usual = max(2 * half_spread, before)
    return max(recent, usual) / usual


def _root(products: Floats) -> float:
    known = products[np.isfinite(products)]
    mean = float(known.mean()) if len(known) else 0.0
    return float(np.sqrt(mean)) if mean > 0 else 0.0
