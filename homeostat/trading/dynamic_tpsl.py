"""Take-profit, stop-loss, trailing stop and partial size, from confidence and volatility.

Policy `tiered` is the seed's table; `volatility`, the default for trading, scales every barrier
by what the price really does. All distances are fractions of the price. The array and the scalar
form do the same operations in the same order, so their results are equal to the last bit.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from sqlalchemy.orm import Session

from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.errors import HomeostatError
from homeostat.store import trading as store
from homeostat.trading.market import port
from homeostat.trading.market.panel import Floats, Panel

#: Volatility that is taken where none is given, as in the seed.
USUAL_VOLATILITY = 0.02
#: Taker fee of entry and exit together, on Binance futures without rebates (2 × 0.05 %).
ROUND_TRIP_FEE = 0.001
#: The time barrier: after this many bars a position has had its chance.
HORIZON_BARS = 60
_ATR_BARS = 14
#: A price's fraction from which a volatility is none: somebody has named percents.
_MOST_VOLATILITY = 10.0
#: Decay of the EWMA variance (RiskMetrics, 1996).
_DECAY = 0.94

# The seed's tiers: (confidence bound, TP ×, SL ×, trail ×, partial share).
_TOP, _MIDDLE, _LOW = 0.8, 0.6, 0.4
_TIERS = ((1.5, 1.2, 1.2, 0.40), (1.2, 1.15, 1.0, 0.50), (1.0, 1.1, 0.9, 0.65))
_ELSE = (0.75, 1.05, 0.75, 0.80)
_ROWS = np.array([*_TIERS, _ELSE]).T
_BASE_TP, _BASE_SL, _BASE_TRAIL = 0.04, 0.06, 0.02


class Policy(StrEnum):
    """How the barriers are set."""

    TIERED = "tiered"
    VOLATILITY = "volatility"


class Barriers(NamedTuple):
    """Distances from the entry as fractions of its price, and the share closed at a partial."""

    take_profit: float
    stop_loss: float
    trail: float
    partial: float


class BarrierArrays(NamedTuple):
    """`Barriers` of n symbols; each array is (n,)."""

    take_profit: Floats
    stop_loss: Floats
    trail: Floats
    partial: Floats


class BarrierInputError(HomeostatError):
    """A barrier was asked for with a confidence or volatility that cannot be."""

    exit_code = 64


def _clamp(value: float, low: float, high: float) -> float:
    return low if value < low else min(value, high)


def _tier(confidence: float) -> tuple[float, float, float, float]:
    if confidence > _TOP:
        return _TIERS[0]
    if confidence >= _MIDDLE:
        return _TIERS[1]
    return _TIERS[2] if confidence > _LOW else _ELSE


def tiered(
    confidence: float, score: float | None = None, volatility: float = USUAL_VOLATILITY
) -> Barriers:
    """Return the seed's barriers; the score is the confidence unless given."""
    strength = abs(confidence if score is None else score)
    tp, sl, trail, partial = _tier(confidence)
    reach = _clamp(0.8 + 0.7 * strength, 0.8, 1.5)
    width = _clamp(1.0 + (volatility - 0.02) / 0.01, 0.9, 1.8)
    return Barriers(
        _clamp(_BASE_TP * tp * reach, 0.03, 0.10),
        _clamp(_BASE_SL * sl * width, 0.05, 0.12),
        _clamp(_BASE_TRAIL * trail * width, 0.01, 0.03),
        partial,
    )


def tiered_arrays(
    confidence: Floats, score: Floats | None = None, volatility: Floats | None = None
) -> BarrierArrays:
    """Return `tiered` for arrays (n,)."""
    strength = np.abs(confidence if score is None else score)
    spread = np.full_like(confidence, USUAL_VOLATILITY) if volatility is None else volatility
    tp, sl, trail, partial = _tiers_of(confidence)
    reach = _clip(0.8 + 0.7 * strength, 0.8, 1.5)
    width = _clip(1.0 + (spread - 0.02) / 0.01, 0.9, 1.8)
    return BarrierArrays(
        _clip(_BASE_TP * tp * reach, 0.03, 0.10),
        _clip(_BASE_SL * sl * width, 0.05, 0.12),
        _clip(_BASE_TRAIL * trail * width, 0.01, 0.03),
        partial,
    )


def _tiers_of(confidence: Floats) -> Floats:
    """Return (4, n): `_tier` of each."""
    middle = np.where(confidence >= _MIDDLE, 1, np.where(confidence > _LOW, 2, 3))
    return _ROWS[:, np.where(confidence > _TOP, 0, middle)]


def _clip(values: Floats, low: float, high: float) -> Floats:
    clipped: Floats = np.minimum(np.maximum(values, low), high)
    return clipped


def volatility_scaled(
    confidence: float, volatility: float = USUAL_VOLATILITY, fee: float = ROUND_TRIP_FEE
) -> Barriers:
    """Return barriers in proportion to `volatility`, the deviation expected over the horizon.

    `confidence` is the calibrated one. k(c) = 1 + 2c: a sure signal is given room to run, and the
    floor of 1.5 stops plus the fee keeps the reward above the risk for every other.
    """
    stop = _clamp(1.5 * volatility * (1.3 - 0.6 * confidence), 3.0 * fee, 0.15)
    take = max((1.0 + 2.0 * confidence) * volatility, 1.5 * stop + fee)
    return Barriers(take, stop, 0.6 * stop, _tier(confidence)[3])


def volatility_scaled_arrays(
    confidence: Floats, volatility: Floats, fee: float = ROUND_TRIP_FEE
) -> BarrierArrays:
    """Return `volatility_scaled` for arrays (n,)."""
    stop = _clip(1.5 * volatility * (1.3 - 0.6 * confidence), 3.0 * fee, 0.15)
    take = np.maximum((1.0 + 2.0 * confidence) * volatility, 1.5 * stop + fee)
    return BarrierArrays(take, stop, 0.6 * stop, _tiers_of(confidence)[3])


def expected_volatility(panel: Panel, horizon: int = HORIZON_BARS) -> Floats:
    """Return (n,) max(ATR14 / price, EWMA σ · √horizon); NaN where the bars do not suffice."""
    before = panel.close[:, -_ATR_BARS - 1 : -1]
    high, low = panel.high[:, -_ATR_BARS:], panel.low[:, -_ATR_BARS:]
    ranges = np.maximum(high, before) - np.minimum(low, before)
    atr = ranges.mean(axis=1) / panel.close[:, -1]
    returns = np.diff(np.log(panel.close[:, -121:]), axis=1)
    weights = _DECAY ** np.arange(returns.shape[1])[::-1]
    variance = (returns**2) @ (weights / weights.sum())
    expected: Floats = np.maximum(atr, np.sqrt(variance) * np.sqrt(horizon))
    return expected


def tpsl(
    confidence: float,
    *,
    policy: str,
    score: float | None = None,
    volatility: float | None = None,
) -> dict[str, float | str]:
    """Return the barriers in percent as a person reads them, and exact under other keys.

    `tp_pct`, `sl_pct` and `trail_pct` are rounded as the seed prints them (one decimal; three for
    `volatility`, whose barriers may be a third of a percent); `partial_pct` is whole. Raises
    BarrierInputError where an input cannot be.
    """
    if not 0.0 <= confidence <= 1.0:
        raise BarrierInputError(f"The confidence {confidence} is not between 0 and 1.")
    spread = USUAL_VOLATILITY if volatility is None else volatility
    if not 0.0 <= spread < _MOST_VOLATILITY:
        raise BarrierInputError(f"The volatility {spread} is not a fraction such as 0.02.")
    try:
        kind = Policy(policy)
    except ValueError:
        known = " or ".join(Policy)
        raise BarrierInputError(f"There is no policy {policy!r}; name {known}.") from None
    if kind is Policy.TIERED:
        found, places = tiered(confidence, score, spread), 1
    else:
        found, places = volatility_scaled(confidence, spread), 3
    return {
        "tp_pct": round(100 * found.take_profit, places),
        "sl_pct": round(100 * found.stop_loss, places),
        "trail_pct": round(100 * found.trail, places),
        "partial_pct": round(100 * found.partial),
        "policy": kind.value,
        "take_profit": found.take_profit,
        "stop_loss": found.stop_loss,
        "trail": found.trail,
        "partial": found.partial,
    }


class DynamicTpsl(Component):
    """Sets the barriers of each signal."""

    spec = ComponentSpec(
        name="dynamic_tpsl",
        wing=Wing.TRADING,
        tier=6,
        summary="Sets take-profit, stop-loss, trailing stop and partial size of each signal.",
    )

    def barriers(self, confidence: Floats, volatility: Floats) -> BarrierArrays:
        """Return the trading default's barriers of n signals; all zero where nothing is known.

        A volatility that is missing (0 or NaN) is no calm: a stop of three fees would be set on a
        symbol of which nothing is known, and the size that follows from a narrow stop is large.
        """
        found = volatility_scaled_arrays(confidence, volatility)
        known = (volatility > 0) & (volatility < _MOST_VOLATILITY)
        if known.all():
            return found
        return BarrierArrays(*(np.where(known, one, 0.0) for one in found))

    def probe(self, session: Session) -> Evidence:
        """Set the seed's three rows anew, and 222 barriers in both forms."""
        del session
        watch = Stopwatch()
        wanted = [(8.3, 7.2, 40), (6.4, 6.9, 50), (5.9, 6.9, 50)]
        rows = [tpsl(c, policy="tiered") for c in (0.84, 0.75, 0.60)]
        seen = [(row["tp_pct"], row["sl_pct"], row["partial_pct"]) for row in rows]
        confidence = np.linspace(0.0, 1.0, 222)
        volatility = np.linspace(0.001, 0.08, 222)
        arrays = self.barriers(confidence, volatility)
        pairs = zip(confidence.tolist(), volatility.tolist(), strict=True)
        singly = np.array([volatility_scaled(c, v) for c, v in pairs]).T
        equal = bool((np.array(arrays) == singly).all())
        return Evidence(
            claim="the seed's rows come out exactly, and both forms agree on 222 symbols",
            passed=seen == wanted and equal,
            observed={"rows": [list(row) for row in seen], "forms_equal": equal},
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Set barriers for every symbol of the market at the middle tier, and report their span."""
        panel = port.market(self.context.settings).panel(due_at, 130)
        volatility = expected_volatility(panel)
        known = np.isfinite(volatility)
        version = store.acknowledge(session, self.spec.full_name)
        found = self.barriers(np.full(int(known.sum()), 0.7), volatility[known])
        span = [float(x) for x in np.quantile(found.stop_loss, (0, 0.5, 1))] if known.any() else []
        return CycleResult(
            work=int(known.sum()),
            observed={
                "symbols": len(panel.symbols),
                "without_volatility": int((~known).sum()),
                "stop_loss_min_median_max": list(span),
                "directive": version,
            },
        )
