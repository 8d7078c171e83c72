"""The circuit breaker that all processes on this Redis share.

Ten failures in a row open it for sixty seconds; then exactly one process tries, and its outcome
closes or opens it for all. Exits go through an open circuit: they cost ten seconds at most and
may save the position.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pybreaker
from redis import Redis

from homeostat.trading.venue.deadline import CALL_S
from homeostat.trading.venue.outcomes import (
    AwayError,
    UnknownOutcomeError,
    VenueError,
    WaitError,
)

T = TypeVar("T")

FAILURES = 10
OPEN_S = 60


class SharedBreaker:
    """Lets calls through while the venue answers."""

    def __init__(self, url: str, name: str, failures: int = FAILURES, open_s: int = OPEN_S) -> None:
        """Breakers of one name are the same circuit."""
        # The storage decodes by itself, so it needs a client of its own.
        self._redis = Redis.from_url(url, socket_timeout=CALL_S / 2)
        self._trial_key, self._open_s = f"{name}:trial", open_s
        storage = pybreaker.CircuitRedisStorage(pybreaker.STATE_CLOSED, self._redis, name)
        self._circuit = pybreaker.CircuitBreaker(
            fail_max=failures,
            reset_timeout=open_s,
            state_storage=storage,
            throw_new_error_on_trip=False,
        )

    @property
    def state(self) -> str:
        """The circuit's state: closed, open, or half-open."""
        return str(self._circuit.current_state)

    @property
    def failures(self) -> int:
        """How many calls failed in a row."""
        return self._circuit.fail_counter

    def call(self, work: Callable[[], T], *, urgent: bool = False) -> T:
        """Return what `work` returns; raises AwayError where the circuit is open.

        Only an unknown outcome is a failure: a refusal is an answer, and a wait that was never
        sent says nothing of the venue.
        """
        trial = self.state != pybreaker.STATE_CLOSED and not urgent
        if trial:
            self._begin_trial()
        try:
            return self._noted(work)
        finally:
            if trial:
                self._redis.delete(self._trial_key)

    def _noted(self, work: Callable[[], T]) -> T:
        try:
            found = work()
        except UnknownOutcomeError as error:
            self._note(error)
            raise
        except VenueError as error:
            if not isinstance(error, WaitError | AwayError) or getattr(error, "sent", False):
                self._note(None)
            raise
        self._note(None)
        return found

    def _begin_trial(self) -> None:
        if self._opened_until() > datetime.now(UTC) or not self._redis.set(
            self._trial_key, time.time(), nx=True, px=int(1000 * (CALL_S + 5))
        ):
            raise AwayError("The venue has not answered for a while; nothing was sent.")
        if self.state != pybreaker.STATE_CLOSED and self._opened_until() > datetime.now(UTC):
            # Another one's trial failed between our look and our turn.
            self._redis.delete(self._trial_key)
            raise AwayError("The venue has not answered for a while; nothing was sent.")

    def _opened_until(self) -> datetime:
        storage = self._circuit._state_storage  # noqa: SLF001  # the library shows it nowhere else
        opened: datetime | None = storage.opened_at
        # The storage keeps whole seconds: the part that it drops is added again.
        return (opened or datetime.fromtimestamp(0, UTC)) + timedelta(seconds=self._open_s + 1)

    def _note(self, error: UnknownOutcomeError | None) -> None:
        """Count the outcome of a call that is over."""

        def outcome() -> None:
            if error is not None:
                raise error

        if error is None and self.state != pybreaker.STATE_CLOSED:
            self._circuit.close()
            return
        with contextlib.suppress(UnknownOutcomeError, pybreaker.CircuitBreakerError):
            self._circuit.call(outcome)
