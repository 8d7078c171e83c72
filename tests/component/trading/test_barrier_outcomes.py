"""Barriers on recorded bars: what is touched first, and what is never touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from homeostat.errors import MarketDataError
from homeostat.trading.barrier_outcomes import touched


def recording(folder: Path, drift: float, bars: int = 400, gap: int = 0) -> Path:
    """A file of bars that rise by `drift` each, beside a wobble; a gap of minutes in the middle."""
    close = 100 * np.exp(drift * np.arange(bars) + 0.0005 * (np.arange(bars) % 2))
    lines = ["timestamp,open,high,low,close,volume"]
    for at, price in enumerate(close):
        minute = 60 * (at + (gap if at >= bars // 2 else 0))
        stamp = np.datetime64(1_700_000_000 // 60 * 60 + minute, "s")
        lines.append(f"{stamp}+00:00,{price},{price * 1.0002},{price * 0.9998},{price},10")
    path = folder / "one.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_in_a_rise_one_side_gains_what_the_other_loses(tmp_path: Path) -> None:
    tiered, scaled = touched(recording(tmp_path, 0.001))
    assert (tiered.policy, scaled.policy) == ("tiered", "volatility")
    # 6 % in an hour touches neither 6.36 % nor 6.9 %; what follows the volatility is touched.
    assert tiered.neither == 1.0
    assert scaled.hit_stop_loss == 0.5
    assert scaled.hit_take_profit == 0.5
    for one in (tiered, scaled):
        assert one.hit_take_profit + one.hit_stop_loss + one.neither == pytest.approx(1.0)


def test_a_quiet_market_touches_nothing(tmp_path: Path) -> None:
    assert [one.neither for one in touched(recording(tmp_path, 0.0))] == [1.0, 1.0]


def test_a_file_that_cannot_be_read_is_counted(tmp_path: Path) -> None:
    recording(tmp_path, 0.001)
    (tmp_path / "words.csv").write_text("none", encoding="utf-8")
    assert [one.passed_over for one in touched(tmp_path)] == [1, 1]


def test_no_entry_spans_a_gap(tmp_path: Path) -> None:
    whole = touched(recording(tmp_path, 0.001))[0].entries
    assert 0 < touched(recording(tmp_path, 0.001, gap=30))[0].entries < whole / 2


def test_a_recording_that_is_too_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MarketDataError, match="longer recording"):
        touched(recording(tmp_path, 0.001, bars=150))
