"""The balance of what is held: hierarchical risk parity on a shrunk covariance."""

from __future__ import annotations

import numpy as np

from homeostat.trading.market.panel import Floats


def shrunk_covariance(returns: Floats) -> Floats:
    """Return the (n, n) covariance of (n, t) returns shrunk to its diagonal.

    The intensity is that of Schäfer and Strimmer (2005) for the target of unequal variances.
    """
    centred = returns - returns.mean(axis=1, keepdims=True)
    count = returns.shape[1]
    sample = centred @ centred.T / (count - 1)
    off = ~np.eye(len(returns), dtype=bool)
    products = np.einsum("it,jt->ijt", centred, centred)
    noise = (
        count / (count - 1) ** 3 * ((products - products.mean(axis=2, keepdims=True)) ** 2).sum(2)
    )
    signal = float((sample[off] ** 2).sum())
    intensity = min(1.0, float(noise[off].sum()) / signal) if signal else 1.0
    shrunk: Floats = np.where(off, (1 - intensity) * sample, sample)
    return shrunk


def risk_parity(covariance: Floats) -> Floats:
    """Return hierarchical risk parity weights (López de Prado, 2016); they sum to one."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    count = len(covariance)
    if count < 2:
        return np.ones(count)
    deviation = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(deviation, deviation)
    distance = np.sqrt(np.clip((1 - correlation) / 2, 0, 1))
    np.fill_diagonal(distance, 0.0)
    order = leaves_list(linkage(squareform(distance, checks=False), "single")).astype(np.intp)
    weights = np.ones(count)
    groups = [order]
    while groups:
        halves = [(g[: len(g) // 2], g[len(g) // 2 :]) for g in groups if len(g) > 1]
        for left, right in halves:
            share = 1 - _variance(covariance, left) / (
                _variance(covariance, left) + _variance(covariance, right)
            )
            weights[left] *= share
            weights[right] *= 1 - share
        groups = [half for pair in halves for half in pair]
    return weights


def _variance(covariance: Floats, members: np.typing.NDArray[np.intp]) -> float:
    part = covariance[np.ix_(members, members)]
    inverse = 1 / np.diag(part)
    weights = inverse / inverse.sum()
    return float(weights @ part @ weights)
