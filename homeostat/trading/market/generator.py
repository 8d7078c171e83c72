"""Synthetic panels whose statistics meet those of recorded Binance futures.

Log returns are exp(h)·(β·f + e), less a share of the return before: one common factor f, a
log-volatility h with a slow part (clustering) and a fast part (heavy tails), and a bounce. The
four parameters are fitted on the drawn numbers themselves, so that each seed meets the targets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from homeostat.trading.market.panel import BAR_S, Floats, Instrument, Panel

#: 222 symbols, as in the seed report.
SYMBOLS = 222
#: Two days of one-minute bars.
BARS = 2_880
_PASSES = 8


@dataclass(frozen=True)
class Statistics:
    """What is measured on one-minute log returns; means over symbols unless it says median.

    `deviation` is per minute as a fraction; `beta_low` and `beta_high` are the quartiles.
    """

    deviation: float
    kurtosis: float
    autocorrelation: float
    absolute_lag1: float
    absolute_lag30: float
    correlation: float
    beta_median: float
    beta_low: float
    beta_high: float


#: Measured on 241 Binance USDT-margined symbols, November to December 2025, one-minute bars.
RECORDED = Statistics(0.00144, 10.7, -0.040, 0.198, 0.088, 0.346, 0.98, 0.82, 1.13)


def measure(returns: Floats) -> Statistics:
    """Measure the statistics of (n, t) log returns without missing values."""
    centred = returns - returns.mean(axis=1, keepdims=True)
    deviation = centred.std(axis=1)
    unit = centred / deviation[:, None]
    count = len(returns)
    correlations = unit @ unit.T / returns.shape[1]
    market = centred.mean(axis=0)
    betas = centred @ market / (market @ market)
    low, median, high = np.quantile(betas, (0.25, 0.5, 0.75))
    return Statistics(
        deviation=float(deviation.mean()),
        kurtosis=float((unit**4).mean()),
        autocorrelation=_autocorrelation(unit, 1),
        absolute_lag1=_autocorrelation(np.abs(returns), 1),
        absolute_lag30=_autocorrelation(np.abs(returns), 30),
        correlation=float((correlations.sum() - count) / (count * (count - 1))),
        beta_median=float(median),
        beta_low=float(low),
        beta_high=float(high),
    )


def _autocorrelation(values: Floats, lag: int) -> float:
    centred = values - values.mean(axis=1, keepdims=True)
    products = (centred[:, lag:] * centred[:, :-lag]).mean(axis=1)
    return float((products / (centred**2).mean(axis=1)).mean())


@dataclass(frozen=True)
class _Parameters:
    """`variance` of h, the `slow` part of it, its decay a minute, the factor's loading, bounce.

    The starting values solve the model's moments: kurtosis 3·exp(4·variance) and, with E|r| of a
    log-normal mixture, the autocorrelations of |r| at lags 1 and 30.
    """

    variance: float = 0.34
    slow: float = 0.67
    decay: float = 0.975
    loading: float = 0.67
    bounce: float = 0.045
    spread: float = 1.0


@dataclass(frozen=True)
class _Draws:
    slow_shocks: Floats
    fast: Floats
    factor: Floats
    own: Floats
    betas: Floats


#: Share of the log-volatility's slow part that all symbols have in common.
_COMMON = 0.3


def _draw(generator: np.random.Generator, count: int, bars: int) -> _Draws:
    ranks = (np.arange(count) + 0.5) / count
    # Quantiles of a logistic distribution in random order, not draws: the quartiles of 0.155 to
    # either side must not wander with the seed.
    logit = np.log(ranks / (1 - ranks)) / np.log(3)
    betas = 0.98 + 0.155 * logit
    return _Draws(
        slow_shocks=generator.standard_normal((count + 1, bars)),
        fast=generator.standard_normal((count, bars)),
        factor=generator.standard_normal(bars),
        own=generator.standard_normal((count, bars)),
        betas=np.clip(generator.permutation(betas), 0.2, 2.2),
    )


def _returns(draws: _Draws, with_: _Parameters) -> Floats:
    slow = _persistent(draws.slow_shocks, with_.decay)
    mixed = np.sqrt(_COMMON) * slow[:1] + np.sqrt(1 - _COMMON) * slow[1:]
    level = np.sqrt(with_.variance) * (
        np.sqrt(with_.slow) * mixed + np.sqrt(1 - with_.slow) * draws.fast
    )
    betas = 0.98 + (draws.betas - 0.98) * with_.spread
    shared = with_.loading * betas[:, None] * draws.factor
    own = np.sqrt(1 - with_.loading**2) * draws.own
    returns = np.exp(level) * (shared + own)
    returns[:, 1:] -= with_.bounce * returns[:, :-1].copy()
    returns *= RECORDED.deviation / returns.std(axis=1).mean()
    centred: Floats = returns - returns.mean(axis=1, keepdims=True)
    return centred


def _persistent(shocks: Floats, decay: float) -> Floats:
    """Return stationary first-order autoregressions of unit variance, one a row."""
    result = np.empty_like(shocks)
    result[:, 0] = shocks[:, 0]
    scale = np.sqrt(1 - decay**2)
    for bar in range(1, shocks.shape[1]):
        result[:, bar] = decay * result[:, bar - 1] + scale * shocks[:, bar]
    return result


def _nearer(now: _Parameters, seen: Statistics) -> _Parameters:
    """Return parameters moved toward the targets: each governs mostly one statistic."""
    want = RECORDED
    spread = (want.beta_high - want.beta_low) / (seen.beta_high - seen.beta_low)
    lasting = (seen.absolute_lag30 / want.absolute_lag30) * want.absolute_lag1 / seen.absolute_lag1
    return replace(
        now,
        variance=float(np.clip(now.variance * (want.kurtosis / seen.kurtosis) ** 0.5, 0.1, 0.6)),
        slow=float(np.clip(now.slow * (want.absolute_lag1 / seen.absolute_lag1) ** 0.9, 0.2, 0.98)),
        decay=float(now.decay ** np.clip(lasting, 0.6, 1.6)),
        loading=float(
            np.clip(now.loading * (want.correlation / seen.correlation) ** 0.5, 0.3, 0.95)
        ),
        bounce=now.bounce + (seen.autocorrelation - want.autocorrelation),
        spread=float(np.clip(now.spread * spread, 0.3, 3.0)),
    )


def _distance(seen: Statistics) -> float:
    """Return the largest relative error of any statistic."""
    pairs = ((getattr(seen, name), getattr(RECORDED, name)) for name in vars(RECORDED))
    return max(abs(float(found) / float(wanted) - 1) for found, wanted in pairs)


def calibrated_returns(seed: int, count: int, bars: int) -> Floats:
    """Return (count, bars) log returns that meet `RECORDED` as nearly as a few passes can.

    Small panels carry too little data to fit (fewer than 50 symbols or 1,000 bars): they are
    drawn with the starting parameters.
    """
    generator = np.random.default_rng(seed)
    draws = _draw(generator, count, bars)
    parameters = _Parameters()
    best = _returns(draws, parameters)
    if count < 50 or bars < 1_000:
        return best
    nearest = _distance(measure(best))
    returns = best
    for _ in range(_PASSES):
        parameters = _nearer(parameters, measure(returns))
        returns = _returns(draws, parameters)
        if (distance := _distance(measure(returns))) < nearest:
            best, nearest = returns, distance
    return best


def instruments(seed: int, count: int = SYMBOLS) -> list[Instrument]:
    """Return the exchange's list: mostly tradable perpetuals, and some of each other kind."""
    generator = np.random.default_rng(seed + 1)
    ages = np.clip(generator.lognormal(6.0, 0.9, count), 3, 2_500)
    spreads = np.clip(generator.lognormal(np.log(2e-4), 0.6, count), 2e-5, 4e-3)
    funding = generator.normal(1e-4, 5e-5, count)
    found = []
    for index in range(count):
        base = _MAJORS[index] if index < len(_MAJORS) else f"C{index:03d}"
        quarterly = index % 74 == 60
        found.append(
            Instrument(
                symbol=f"{base}USDT" + ("_260327" if quarterly else ""),
                base=base,
                contract="CURRENT_QUARTER" if quarterly else "PERPETUAL",
                status="SETTLING" if index % 74 == 61 else "TRADING",
                age_days=round(float(ages[index]) if index >= len(_MAJORS) else 2_000.0, 1),
                half_spread=float(spreads[index]) if index >= len(_MAJORS) else 2e-5,
                funding_rate=float(funding[index]),
            )
        )
    return found


_MAJORS = ("BTC", "ETH", "SOL", "BNB", "XRP", "DOGE", "ADA", "USDC", "FDUSD")
#: Those of the majors that are stablecoins keep their price.
STABLECOINS = frozenset({"USDC", "FDUSD"})


def panel(
    seed: int, *, symbols: int = SYMBOLS, bars: int = BARS, start: int = 1_763_856_000
) -> Panel:
    """Return a whole panel; `start` is the first bar's opening moment (23 Nov 2025, 00:00 UTC).

    The log prices return to where they began, so that the panel may be replayed without a jump.
    """
    listed = instruments(seed, symbols)
    returns = calibrated_returns(seed, symbols, bars)
    for row, instrument in enumerate(listed):
        if instrument.base in STABLECOINS:
            returns[row] *= 0.02
    return _candles(np.random.default_rng(seed + 2), listed, returns, start)


def _candles(
    generator: np.random.Generator, listed: list[Instrument], returns: Floats, start: int
) -> Panel:
    shape = returns.shape
    prices = np.exp(generator.normal(0.0, 2.0, (shape[0], 1)))
    for row, instrument in enumerate(listed):
        if instrument.base in STABLECOINS:
            prices[row] = 1.0
    close = prices * np.exp(np.cumsum(returns, axis=1))
    opened = np.concatenate([close[:, -1:], close[:, :-1]], axis=1)
    reach = np.abs(generator.normal(0.0, 0.5, (2, *shape))) * np.abs(returns).mean()
    turnover = np.exp(generator.normal(11.0, 1.4, (shape[0], 1)))
    busy = np.exp(0.6 * generator.standard_normal(shape)) * (1 + np.abs(returns) / 0.00144)
    return Panel(
        symbols=tuple(instrument.symbol for instrument in listed),
        times=start + BAR_S * np.arange(shape[1], dtype=np.int64),
        open=opened,
        high=np.maximum(opened, close) * np.exp(reach[0]),
        low=np.minimum(opened, close) * np.exp(-reach[1]),
        close=close,
        volume=turnover * busy / close,
    )
