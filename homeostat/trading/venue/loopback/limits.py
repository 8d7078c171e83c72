"""The venue's own request limit: weight a window, 429 beyond it, 418 for those who go on.

As on the real venue the window is fixed (the minute of the clock), the weight used stands in a
header of every answer, and a client that does not stop when told so is banned for longer.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

#: REQUEST_WEIGHT a minute (`exchangeInfo`, `rateLimits`).
WEIGHT_LIMIT = 2400
WINDOW_S = 60
#: Requests into a closed door that turn 429 into 418, and how long that lasts at first.
PATIENCE = 3
BAN_S = 120.0


@dataclass(frozen=True)
class Closed:
    """The door is closed: the status to answer with, and until when (epoch seconds)."""

    status: int
    until: float


class WeightLimit:
    """Counts what was used, and closes the door."""

    def __init__(self, limit: int = WEIGHT_LIMIT, window_s: int = WINDOW_S) -> None:
        """Allow `limit` in each window of `window_s` seconds."""
        self.limit, self.window_s = limit, window_s
        self.used_in: dict[int, int] = {}
        self.closed: Closed | None = None
        #: Requests that came while the door was closed.
        self.knocks = 0

    def close(self, status: int, seconds: float) -> Closed:
        """Close the door for so long."""
        self.closed = Closed(status, time.time() + seconds)
        return self.closed

    def spend(self, weight: int) -> Closed | None:
        """Count a request; returns the closed door where it does not come in."""
        now = time.time()
        if self.closed is not None:
            if now < self.closed.until:
                self.knocks += 1
                if self.closed.status == 429 and self.knocks >= PATIENCE:
                    return self.close(418, BAN_S)
                return self.closed
            self.closed = None
        window = int(now // self.window_s)
        self.used_in[window] = self.used_in.get(window, 0) + weight
        if self.used_in[window] > self.limit:
            return self.close(429, (window + 1) * self.window_s - now)
        return None

    @property
    def used(self) -> int:
        """The weight used in the present window."""
        return self.used_in.get(int(time.time() // self.window_s), 0)
