"""What a backtest passes by is what would have changed nothing: it may look at every minute."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.orm import Session

from homeostat.trading.backtest import Result, backtest, driver, pruning
from homeostat.trading.backtest.glances import Glances
from homeostat.trading.dynamic_tpsl import Policy
from homeostat.trading.market import generator

NAMES = ("open", "high", "low", "close", "volume")
#: A day whose midnight lies within the bars: funding is charged then.
BEGIN = 1_700_006_400 - 60 * 400


def folder_of(home: Path, seed: int, *, wild: float = 1.0, missing: float = 0.0) -> Path:
    """Write some symbols whose prices move as wildly as asked, and lack as many bars."""
    panel = generator.panel(seed, symbols=6, bars=601)
    draw = np.random.default_rng(seed)
    for row in range(5):
        columns = np.stack([getattr(panel, name)[row, 1:] for name in NAMES], axis=1)
        columns[:, :4] = columns[0, 3] * (columns[:, :4] / columns[0, 3]) ** wild
        kept = np.flatnonzero(draw.random(600) >= missing * (row % 2))
        rows = [[1000 * (BEGIN + 60 * bar), *columns[bar].tolist()] for bar in kept.tolist()]
        (home / f"S{row}-1m.json").write_text(json.dumps(rows))
    return home


def run(path: Path, policy: Policy) -> Result:
    return backtest(path, policy=policy, universe=False)


@pytest.mark.parametrize(
    ("seed", "wild", "missing", "policy"),
    [
        (3, 1.0, 0.0, Policy.VOLATILITY),
        (5, 3.0, 0.2, Policy.VOLATILITY),
        (9, 0.3, 0.05, Policy.VOLATILITY),
        (7, 1.0, 0.2, Policy.TIERED),
    ],
)
def test_looking_at_every_minute_changes_no_trade(
    seed: int,
    wild: float,
    missing: float,
    policy: Policy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = folder_of(tmp_path, seed, wild=wild, missing=missing)
    found = run(path, policy)
    calls: list[int] = []

    def next_minute(_glances: Glances, _position: object, end: int) -> int:
        calls.append(end)
        return end + 1

    monkeypatch.setattr(Glances, "after", next_minute)
    every = run(path, policy)
    assert found.trades == every.trades
    assert (found.equity, found.drawdown) == (every.equity, every.drawdown)
    assert found.blocks == every.blocks
    assert len(found.trades) > 5
    assert len(calls) > 5 * len(found.trades)


def test_what_is_forgotten_on_the_way_is_missed_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder_of(tmp_path, 3)
    found = run(path, Policy.VOLATILITY)
    pruned: list[int] = []
    monkeypatch.setattr(driver, "TELL_EVERY", 7)
    monkeypatch.setattr(driver, "PRUNE_EVERY", 1)

    def prune(session: Session) -> None:
        pruned.append(1)
        pruning.prune(session)

    monkeypatch.setattr(driver, "prune", prune)
    again = run(path, Policy.VOLATILITY)
    assert again.trades == found.trades
    assert again.blocks == found.blocks
    assert len(pruned) > 5
