"""The grid of due times: the same for every reader, spread, and without a gap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.supervision import cadence

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
INTERVALS = st.floats(min_value=0.05, max_value=86_400, allow_nan=False)
NAMES = st.text(min_size=1, max_size=40)


def test_the_offset_of_a_name_is_the_same_in_every_version() -> None:
    assert cadence.offset_us("kernels.message_bus", 10) == 8_800_000
    assert cadence.offset_us("trading.self_healing", 5) == 4_200_000


@given(NAMES, INTERVALS)
def test_the_newest_tick_is_never_ahead_and_never_older_than_one_interval(
    name: str, interval_s: float
) -> None:
    due = cadence.newest_due(name, interval_s, NOW)

    assert NOW - timedelta(microseconds=cadence.interval_us(interval_s)) < due <= NOW


@given(NAMES, INTERVALS)
def test_a_due_time_is_its_own_newest_tick(name: str, interval_s: float) -> None:
    due = cadence.newest_due(name, interval_s, NOW)

    assert cadence.newest_due(name, interval_s, due) == due
    assert cadence.newest_due(name, interval_s, due - timedelta(microseconds=1)) < due


def test_ticks_follow_each_other_without_a_gap() -> None:
    ticks = list(cadence.due_between("a", 5, NOW, NOW + timedelta(minutes=1)))

    assert len(ticks) == 12
    assert {later - earlier for earlier, later in pairwise(ticks)} == {timedelta(seconds=5)}


def test_neighbouring_windows_share_no_tick_and_miss_none() -> None:
    end = NOW + timedelta(minutes=1)
    middle = cadence.newest_due("a", 5, NOW + timedelta(seconds=30))

    halves = [
        *cadence.due_between("a", 5, NOW, middle),
        *cadence.due_between("a", 5, middle, end),
    ]

    assert halves == list(cadence.due_between("a", 5, NOW, end))


def test_a_thousand_entries_are_spread_over_their_interval() -> None:
    offsets = [cadence.offset_us(f"entry-{n}", 5) for n in range(1_000)]
    fullest = max(offsets.count(offset) for offset in set(offsets))

    assert len(set(offsets)) == 50
    assert fullest < 50


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        cadence.offset_us("a", 0)
