"""The chain of filters: from the exchange's list to the few symbols that may be traded.

Each symbol that is kept out is kept out by one named rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from homeostat.settings import UniverseProfile
from homeostat.trading.market.panel import Floats, Instrument, Panel

STABLECOINS = frozenset({"USDC", "FDUSD", "TUSD", "BUSD", "DAI", "USDP", "USDE", "EUR"})


class Tier(StrEnum):
    """A symbol's standing from its own results."""

    CORE = "CORE"
    EXPANSION = "EXPANSION"
    CONDITIONAL = "CONDITIONAL"
    BLACKLIST = "BLACKLIST"


@dataclass(frozen=True)
class Limits:
    """The bounds of one profile; volatility is the deviation of one-minute returns."""

    age_days: float
    dollar_volume: float
    volatility_low: float
    volatility_high: float
    half_spread: float
    correlation: float = 0.9


#: A minute's median turnover in dollars, and the band of volatility around the recorded 14.4 bp.
LIMITS = {
    UniverseProfile.SAFE: Limits(90, 20_000, 0.0003, 0.0040, 0.0005),
    UniverseProfile.AGGRESSIVE: Limits(30, 5_000, 0.0003, 0.0080, 0.0010),
    UniverseProfile.EXPERIMENTAL: Limits(7, 1_000, 0.0001, 0.0200, 0.0030),
}


@dataclass(frozen=True)
class Filtered:
    """The symbols that passed, best first, and the rule that kept each of the others out."""

    passed: tuple[str, ...]
    excluded: Mapping[str, str]


def filter_symbols(listed: Sequence[Instrument], panel: Panel, limits: Limits) -> Filtered:
    """Pass the symbols through the rules in the order of the specification.

    `listed[i]` describes row i of the panel. A symbol whose bars are missing or constant is
    STALLED: a dead feed would otherwise look calm.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        returns = panel.log_returns()
        deviation = np.nanstd(np.where(np.isfinite(returns), returns, np.nan), axis=1)
        turnover = _median(panel.close * panel.volume)
    present = np.isfinite(panel.close[:, -1]) & (np.isfinite(panel.close).mean(axis=1) > 0.9)
    moving = np.ptp(np.nan_to_num(panel.close[:, -30:], nan=-1.0), axis=1) > 0
    excluded: dict[str, str] = {}
    left = []
    for row, one in enumerate(listed):
        rule = _rule_against(one, limits, float(turnover[row]), float(deviation[row]))
        if not rule and not (present[row] and moving[row]):
            rule = "STALLED"
        if rule:
            excluded[one.symbol] = rule
        else:
            left.append(row)
    left.sort(key=lambda row: -turnover[row])
    kept = _uncorrelated(returns, left, limits.correlation)
    for row in set(left) - set(kept):
        excluded[listed[row].symbol] = "CORRELATED"
    return Filtered(tuple(listed[row].symbol for row in kept), excluded)


def _median(values: Floats) -> Floats:
    filled = np.where(np.isfinite(values), values, 0.0)
    found: Floats = np.median(filled, axis=1)
    return found


def _rule_against(one: Instrument, limits: Limits, turnover: float, deviation: float) -> str:
    if one.contract != "PERPETUAL" or one.status != "TRADING":
        return "NOT_TRADING_PERPETUAL"
    if one.age_days < limits.age_days:
        return "TOO_YOUNG"
    if turnover < limits.dollar_volume:
        return "LOW_VOLUME"
    # A stablecoin has no volatility; the rule that names the cause comes before the symptom.
    if one.base in STABLECOINS:
        return "STABLECOIN"
    if not deviation >= limits.volatility_low:
        return "TOO_CALM"
    if deviation > limits.volatility_high:
        return "TOO_WILD"
    if one.half_spread > limits.half_spread:
        return "WIDE_SPREAD"
    return ""


def _uncorrelated(returns: Floats, order: Sequence[int], bound: float) -> list[int]:
    """Keep greedily, in order, each row whose correlation with all kept ones is below `bound`."""
    if not order:
        return []
    chosen = np.nan_to_num(returns[list(order)])
    chosen = chosen - chosen.mean(axis=1, keepdims=True)
    chosen /= np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-300)
    correlations = chosen @ chosen.T
    kept: list[int] = []
    for place in range(len(order)):
        if not kept or correlations[place, kept].max() < bound:
            kept.append(place)
    return [order[place] for place in kept]


def tier_of(trades: int, wins: int, sum_r: float) -> Tier:
    """Return the tier that results earn: fewer than 10 trades prove nothing."""
    if trades < 10:
        return Tier.CONDITIONAL
    mean_r, won = sum_r / trades, wins / trades
    if mean_r <= -0.3 or (won < 0.3 and mean_r < 0):
        return Tier.BLACKLIST
    if mean_r >= 0.2 and won >= 0.5:
        return Tier.CORE
    return Tier.EXPANSION if mean_r > 0 else Tier.CONDITIONAL
