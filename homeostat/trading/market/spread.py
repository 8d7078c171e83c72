"""The spread of the last minutes in its usual widths, estimated from the bars.

Candles hold no quotes. A wide spread makes closes bounce between bid and ask around the middle of
the range, which Abdi and Ranaldo's estimator (2017) reads: S² = 4·E[(c − m)(c − m')], where m is
the middle of a bar's log range and m' that of the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from homeostat.trading.market.panel import Floats, Panel

#: Bars of the present spread, and of the usual one.
RECENT, USUAL = 15, 120


def widths(panel: Panel, rows: Sequence[int], half_spreads: Floats) -> Floats:
    """Return (n,) the present spread of these rows as a multiple of the usual one, at least 1.

    The usual one is what the exchange lists (`half_spreads`, of the price) or what the bars before
    showed, whichever is wider; a stretch without bars, or of no measurable spread, is usual.
    """
    cut = np.ix_(np.array(rows), np.arange(panel.close.shape[1])[-RECENT - USUAL :])
    high, low, close = (np.log(x[cut]) for x in (panel.high, panel.low, panel.close))
    middle = (high + low) / 2
    products = 4 * (close[:, :-1] - middle[:, :-1]) * (close[:, :-1] - middle[:, 1:])
    recent, before = _roots(products[:, -RECENT:]), _roots(products[:, :-RECENT])
    usual = np.maximum(2 * half_spreads, before)
    found: Floats = np.ones_like(usual)
    return np.divide(np.maximum(recent, usual), usual, out=found, where=usual > 0)


def _roots(products: Floats) -> Floats:
    known = np.isfinite(products)
    sums = np.where(known, products, 0.0).sum(axis=1)
    roots: Floats = np.sqrt(np.maximum(sums / np.maximum(known.sum(axis=1), 1), 0.0))
    return roots
