"""N-HiTS and PatchTST, trained for real; skipped where the extra `deep` is not installed."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from homeostat.trading.market.panel import Panel
from homeostat.trading.models import deep, training
from homeostat.trading.models.agent import ModelUnavailableError

needs_extra = pytest.mark.skipif(
    not deep.installed(), reason="neuralforecast is missing: install homeostat[deep]"
)


def swinging(symbols: int = 12, bars: int = 1_200) -> Panel:
    """Prices that swing with a period of six hours: what a network can learn in a minute."""
    draw = np.random.default_rng(3)
    phase = draw.uniform(0, 2 * np.pi, symbols)[:, None]
    wave = np.sin(2 * np.pi * np.arange(bars) / 360 + phase)
    close = 100 * np.exp(0.05 * wave + np.cumsum(draw.normal(0, 2e-4, (symbols, bars)), axis=1))
    names = tuple(f"S{number}" for number in range(symbols))
    times = 60 * np.arange(bars, dtype=np.int64)
    return Panel(names, times, close, close, close, close, np.ones_like(close))


@needs_extra
@pytest.mark.slow
@pytest.mark.parametrize("name", deep.NAMES)
def test_a_network_learns_a_swing_and_its_bytes_say_the_same(name: str) -> None:
    panel = swinging()
    found = training.train(panel, name)
    assert found.brier < 0.2, found.metrics()
    assert found.returns.mean() > 0
    read = deep.DeepModel.of(found.model.content())
    assert read.content() == found.model.content()
    rise = found.model.rise(panel)
    assert (read.rise(panel) == rise).all()
    assert ((rise > 0) & (rise < 1)).all()
    again = training.train(panel, name)
    assert again.model.content() == found.model.content()


@pytest.mark.parametrize("name", deep.NAMES)
def test_without_the_extra_the_reason_is_typed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neuralforecast", None)
    monkeypatch.setitem(sys.modules, "neuralforecast.models", None)
    with pytest.raises(ModelUnavailableError, match="deep") as caught:
        training.train(swinging(2), name)
    assert caught.value.reason == "LIBRARY_MISSING"
