"""The wait that the venue has asked one of us for, published so that all of us obey it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from redis import Redis

from homeostat.trading.venue.outcomes import USUAL_WAIT_S

_BANNED_UNTIL = re.compile(r"banned until (\d{13})")
#: Statuses by which the venue asks for a wait: too many requests, and banned.
WAIT_STATUSES = (418, 429)


def asked_until(status: int, headers: Mapping[str, str], body: str) -> float | None:
    """Return until when (epoch seconds) an answer asks us to wait, None where it does not.

    The wait stands in the Retry-After header, in the text ("banned until" a moment in
    milliseconds), in both, or nowhere; of two the later one holds.
    """
    if status not in WAIT_STATUSES:
        return None
    found = []
    told = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    if told.strip().isdigit():
        found.append(time.time() + int(told))
    if banned := _BANNED_UNTIL.search(body):
        found.append(int(banned.group(1)) / 1000)
    return max(found, default=time.time() + USUAL_WAIT_S)


class Waits:
    """Until when nothing may be sent, for all processes on this Redis."""

    def __init__(self, redis: Redis, name: str) -> None:
        """Waits of one name are the same wait."""
        self._redis, self._key = redis, f"{name}:wait"

    def publish(self, until: float) -> None:
        """Let nobody send before `until` (epoch seconds); a longer wait is never shortened."""
        self._redis.zadd(self._key, {"until": until}, gt=True)

    def until(self) -> float:
        """Return until when nothing may be sent, 0.0 where that has passed."""
        found = self._redis.zscore(self._key, "until")
        return float(found) if found is not None and float(found) > time.time() else 0.0
