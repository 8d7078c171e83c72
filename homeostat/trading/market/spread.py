"""The spread of the last minutes in its usual widths, estimated from the bars.

Candles hold no quotes. A wide spread makes closes bounce between bid and ask around the middle of
the range, which Abdi and Ranaldo's estimator (2017) reads: S² = 4·E[(c − m)(c − m')], where m is
the middle of a bar's log range and m' that of the next.

In fifteen wild minutes the mean of these products is wide of the mark to either side. A real
spread shows in nearly every one of them, so the present one is what they speak for with two
standard errors to spare: on the generator's market 1 estimate in 1,500 then comes to five usual
widths, where without that it was 1 in 50, in bursts of 1 in 10 (`tests` hold it to 1 in 500).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from homeostat.trading.market.panel import Floats, Panel

#: Bars of the present spread, and of the usual one.
RECENT, USUAL = 15, 120
#: Standard errors by which the present spread has to be sure.
_SURE = 2.0


def widths(panel: Panel, rows: Sequence[int], half_spreads: Floats) -> Floats:
    """Return (n,) the present spread of these rows as a multiple of the usual one, at least 1.

    The usual one is what the exchange lists (`half_spreads`, of the price) or what the bars before
    showed, whichever is wider; a stretch without bars, or of no measurable spread, is usual.
    """
    latest = np.s_[rows, -RECENT - USUAL :]
    high, low, close = (np.log(x[latest]) for x in (panel.high, panel.low, panel.close))
    middle = (high + low) / 2
    products = 4 * (close[:, :-1] - middle[:, :-1]) * (close[:, :-1] - middle[:, 1:])
    recent, before = _root(products[:, -RECENT:], _SURE), _root(products[:, :-RECENT], 0.0)
    usual = np.maximum(2 * half_spreads, before)
    found: Floats = np.ones_like(usual)
    return np.divide(np.maximum(recent, usual), usual, out=found, where=usual > 0)


def _root(products: Floats, errors: float) -> Floats:
    """Return (n,) the roots of the rows' means, less so many of their standard errors."""
    known = np.isfinite(products)
    count = np.maximum(known.sum(axis=1), 1)
    whole = known.all()
    mean = (products if whole else np.where(known, products, 0.0)).sum(axis=1) / count
    apart = products - mean[:, None]
    if not whole:
        apart[~known] = 0.0
    # One product alone has no error, and shows no spread.
    error = np.sqrt((apart**2).sum(axis=1) / count / np.maximum(count - 1, 1))
    root: Floats = np.sqrt(np.maximum(mean - errors * error, 0.0))
    return np.where((errors > 0) & (count < 2), 0.0, root)
