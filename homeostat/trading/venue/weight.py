"""The one bucket of request weight that all processes on this Redis share.

Each request takes its weight before it is sent. The venue's own count comes back in a header of
every answer; what it has counted beyond ours (another program behind the same address) is put
into the bucket as well. The window slides, so that no minute of the venue's clock, wherever it
begins, sees more than the limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from limits.storage import RedisStorage

from homeostat.store.redis import SOCKET_TIMEOUT_S
from homeostat.trading.venue.outcomes import WaitError

#: REQUEST_WEIGHT a minute of one address (`exchangeInfo`, `rateLimits`).
LIMIT = 2400
WINDOW_S = 60
#: The share of the limit that only exits may use.
KEPT_FOR_EXITS = 0.1
#: Seconds that a request waits for its weight before it is given back undone.
PATIENCE_S = 5.0
_PAUSE_S = 0.02


class WeightBucket:
    """The weight that is left for all of us."""

    def __init__(
        self,
        url: str,
        name: str,
        limit: int = LIMIT,
        window_s: int = WINDOW_S,
        *,
        patience_s: float = PATIENCE_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Use the Redis server at `url`; buckets of one name are the same bucket."""
        self.limit, self.window_s = limit, window_s
        self._patience_s, self._now = patience_s, now
        self._key = f"{name}:weight"
        self._storage = RedisStorage(
            url, socket_timeout=SOCKET_TIMEOUT_S, socket_connect_timeout=SOCKET_TIMEOUT_S
        )

    def take(self, weight: int, *, urgent: bool = False) -> None:
        """Take so much out, waiting for it if need be; raises WaitError where it takes too long.

        Only what is urgent (an exit) may use the last tenth.
        """
        most = self.limit if urgent else int(self.limit * (1 - KEPT_FOR_EXITS))
        patient_until = self._now() + self._patience_s
        while not self._storage.acquire_entry(self._key, most, self.window_s, weight):
            if self._now() >= patient_until:
                oldest, _ = self._storage.get_moving_window(self._key, most, self.window_s)
                raise WaitError(
                    f"The {self.limit} weight of {self.window_s} s are used up.",
                    oldest + self.window_s,
                )
            time.sleep(_PAUSE_S)

    def heard(self, used: int) -> None:
        """Take out what the venue has counted in its present window and we have not."""
        into = self._now() % self.window_s
        _, ours = self._storage.get_moving_window(self._key, self.limit, into)  # type: ignore[arg-type]  # it subtracts it from a time
        room = self.limit - self.used()
        if (unknown := min(used - ours, room)) > 0:
            self._storage.acquire_entry(self._key, self.limit, self.window_s, unknown)

    def used(self) -> int:
        """Return what was taken out in the last window."""
        return self._storage.get_moving_window(self._key, self.limit, self.window_s)[1]
