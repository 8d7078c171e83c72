"""What speaks for one rival of a batch rather than another, besides the model's confidence.

The specification weighs tier, stability, cost and recent performance, and leaves their units to
us: all four are shares or results in R, so that a merit of one is worth its weight in points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from homeostat.store.trading import UniverseMember
from homeostat.trading.market.panel import Floats, Instrument, Panel
from homeostat.trading.market.spread import RECENT, USUAL
from homeostat.trading.venue.paper import TAKER_FEE

#: Fewer trades than these prove no performance.
LEAST_TRADES = 10
#: The universe's tiers in the balancer's words: what has earned none yet is being watched.
_TIERS = {"CORE": "CORE", "EXPANSION": "EXPANSION", "CONDITIONAL": "MONITORING"}
_C: Any = UniverseMember.__table__.c
_STANDING = select(_C.symbol, _C.tier, _C.trades, _C.sum_r).where(
    _C.symbol.in_(bindparam("symbols", expanding=True))
)


class Merit(NamedTuple):
    """One rival's: `stability` 0 to 1, `cost` in R, `performance` the mean R, -1 to 1."""

    tier: str = ""
    stability: float = 0.0
    cost: float = 0.0
    performance: float = 0.0


def merits(
    session: Session,
    panel: Panel,
    rows: NDArray[np.intp],
    stops: Floats,
    listed: Sequence[Instrument],
) -> list[Merit]:
    """Return the merits of the symbols in these rows; `stops` (k,) are fractions of the price."""
    symbols = [panel.symbols[row] for row in rows.tolist()]
    known = {
        symbol: (_TIERS.get(tier, ""), _performance(trades, sum_r))
        for symbol, tier, trades, sum_r in session.connection().execute(
            _STANDING, {"symbols": symbols}
        )
    }
    paid = 2 * TAKER_FEE + 2 * np.array([one.half_spread for one in listed])
    numbers = zip(stability(panel.close[rows]).tolist(), (paid / stops).tolist(), strict=True)
    found = []
    for symbol, (steady, cost) in zip(symbols, numbers, strict=True):
        tier, performance = known.get(symbol, ("", 0.0))
        # The journal keeps them, and four digits decide no rank.
        found.append(Merit(tier, round(steady, 4), round(cost, 4), round(performance, 4)))
    return found


def stability(close: Floats) -> Floats:
    """Return (k,) how near the recent volatility of closes (k, t) is to their usual one."""
    steps = np.diff(np.log(close[:, -USUAL - 1 :]), axis=1)
    # Where nothing is missing, and nearly always nothing is, both say the same at a third the cost.
    deviation = np.std if np.isfinite(steps).all() else np.nanstd
    recent, usual = deviation(steps[:, -RECENT:], axis=1), deviation(steps, axis=1)
    wider = np.maximum(recent, usual)
    found: Floats = np.divide(
        np.minimum(recent, usual), wider, out=np.zeros_like(wider), where=wider > 0
    )
    return found


def _performance(trades: int, sum_r: float) -> float:
    return min(max(sum_r / trades, -1.0), 1.0) if trades >= LEAST_TRADES else 0.0
