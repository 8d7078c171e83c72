"""Waiting for conditions, never for seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: How long a loop rests between two looks.
PAUSE_S = 0.05


def wait_until(condition: Callable[[], T], description: str, timeout: float = 30.0) -> T:
    """Return the first true value of `condition`; raises AssertionError with what was awaited."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{timeout:.0f} s passed and this did not happen: {description}")
        time.sleep(PAUSE_S)
