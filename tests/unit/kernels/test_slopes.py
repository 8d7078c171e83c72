from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from homeostat.kernels.infrastructure_manager.slopes import (
    Sample,
    exhausted_in_s,
    leak_per_minute,
)

START = datetime(2026, 11, 21, tzinfo=UTC)
MB = 1_000_000.0


def samples(
    shape: Callable[[float], float], noise_mb: float, seed: int, minutes: int = 10
) -> list[Sample]:
    """Return some minutes of samples, one each 30 s, as the infrastructure manager takes them."""
    dice = random.Random(seed)  # noqa: S311  # seeded noise
    return [
        (START + timedelta(minutes=m), 200 * MB + shape(m) * MB + dice.gauss(0, noise_mb) * MB)
        for m in (n / 2 for n in range(2 * minutes + 1))
    ]


@pytest.mark.parametrize("seed", range(20))
def test_a_leak_of_one_megabyte_a_minute_is_found_under_noise(seed: int) -> None:
    growth = leak_per_minute(samples(lambda minute: minute, 0.8, seed))
    assert growth is not None
    assert growth == pytest.approx(MB, rel=0.35)


@pytest.mark.parametrize("period", [1.0, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0, 9.0])
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("height", [5.0, 20.0, 80.0])
def test_a_sawtooth_is_no_leak(period: float, phase: float, height: float) -> None:
    shape = samples(lambda m: (m / period + phase) % 1.0 * height, 0.5, int(period * 10))
    assert leak_per_minute(shape) is None


@pytest.mark.parametrize("full_after", [3.0, 4.0, 5.0, 6.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_table_that_fills_and_then_is_full_is_no_leak(full_after: float, seed: int) -> None:
    shape = samples(lambda m: 2.0 * min(m, full_after), 0.05, seed)
    assert leak_per_minute(shape) is None


#: A fix worker's child over the ten minutes of two reports, in megabytes, one each 30 s.
WARMING_UP = [
    [
        149.86, 149.86, 163.35, 166.03, 167.06, 167.12, 168.05, 167.51, 167.92, 168.03, 168.44,
        168.80, 168.93, 169.30, 169.12, 169.52, 169.32, 169.39, 169.70, 169.78, 169.90, 169.82,
    ],
    [
        148.91, 162.15, 164.68, 167.20, 167.63, 167.70, 168.12, 168.21, 168.92, 169.27, 169.39,
        169.53, 169.92, 169.98, 170.40, 170.48, 170.59, 170.82, 170.90, 170.98, 171.07,
    ],
]  # fmt: skip


@pytest.mark.parametrize("seen", WARMING_UP)
def test_what_warms_up_ever_more_slowly_is_no_leak(seen: list[float]) -> None:
    for end in range(12, len(seen) + 1):
        shape = [(START + timedelta(seconds=30 * n), mb * MB) for n, mb in enumerate(seen[:end])]
        assert leak_per_minute(shape) is None, end


@pytest.mark.parametrize("flat_from", [2.0, 3.0, 4.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_table_that_fills_in_two_steps_is_no_leak(flat_from: float, seed: int) -> None:
    """Seen from inside the second step, as a window that ends there sees it."""
    shape = samples(
        lambda m: 2.0 * min(m, flat_from) + 2.0 * max(0.0, m - flat_from - 5.0), 0.1, seed
    )
    assert leak_per_minute(shape) is None


def test_nearly_every_leak_is_found_in_ten_minutes_and_every_one_in_fifteen() -> None:
    def missed(minutes: int) -> int:
        shapes = (samples(lambda m: m, 0.8, seed, minutes) for seed in range(200))
        return sum(leak_per_minute(shape) is None for shape in shapes)

    assert missed(10) <= 10
    assert missed(15) == 0


@pytest.mark.parametrize("seed", range(50))
def test_noise_alone_is_no_leak(seed: int) -> None:
    assert leak_per_minute(samples(lambda _minute: 0.0, 3.0, seed)) is None


def test_a_step_up_that_stays_is_no_leak() -> None:
    assert leak_per_minute(samples(lambda m: 50.0 if m > 9 else 0.0, 0.5, 1)) is None


def test_a_disk_that_fills_says_when() -> None:
    rising = [(START + timedelta(minutes=m), 0.8 + 0.01 * m) for m in range(15)]
    left = exhausted_in_s(rising, 1.0)
    assert left == pytest.approx((1.0 - 0.94) / 0.01 * 60, rel=0.05)
    assert exhausted_in_s([(at, 0.8) for at, _ in rising], 1.0) is None
