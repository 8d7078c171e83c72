"""What stands around every call to the venue, shared by all processes where it must be.

In this order: the published wait, the circuit, the deadline of the call, and before each of its
requests the weight. Where the Redis server is away nobody knows the limits: entries and reads
are then refused, and exits go on under the venue's own limit.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import local
from typing import TypeVar

from redis import Redis, RedisError

from homeostat.trading.venue.breaker import FAILURES, OPEN_S, SharedBreaker
from homeostat.trading.venue.deadline import CALL_S, DeadlineError, within
from homeostat.trading.venue.outcomes import (
    AwayError,
    UnknownOutcomeError,
    VenueError,
    WaitError,
    classified,
)
from homeostat.trading.venue.waits import Waits, asked_until
from homeostat.trading.venue.weight import LIMIT, PATIENCE_S, WINDOW_S, WeightBucket

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """The limits that the guard holds to; the defaults are the real venue's and the spec's."""

    weight: int = LIMIT
    window_s: int = WINDOW_S
    patience_s: float = PATIENCE_S
    failures: int = FAILURES
    open_s: int = OPEN_S
    call_s: float = CALL_S


@dataclass(frozen=True)
class Standing:
    """How the venue stands for all processes."""

    circuit: str
    failures: int
    wait_until: float
    used_weight: int
    limits: Limits = field(default_factory=Limits)


class Guard:
    """The shared state of one venue, and the way through it."""

    def __init__(self, redis: Redis, url: str, name: str, limits: Limits | None = None) -> None:
        """Guards of one name on one Redis server (`url`) share everything."""
        self.limits = limits or Limits()
        self.waits = Waits(redis, name)
        self._url, self._name = url, name
        self._bucket: WeightBucket | None = None
        self._breaker: SharedBreaker | None = None
        # The wait that this process has heard of itself, for when the server is away.
        self._heard_until = 0.0
        self._call = local()

    @property
    def bucket(self) -> WeightBucket:
        """The shared bucket, made at first use."""
        if self._bucket is None:
            limits = self.limits
            self._bucket = WeightBucket(
                self._url,
                self._name,
                limits.weight,
                limits.window_s,
                patience_s=limits.patience_s,
            )
        return self._bucket

    @property
    def breaker(self) -> SharedBreaker:
        """The shared circuit, made at first use; raises RedisError where the server is away."""
        if self._breaker is None:
            limits = self.limits
            self._breaker = SharedBreaker(self._url, self._name, limits.failures, limits.open_s)
        return self._breaker

    def call(self, work: Callable[[], T], *, urgent: bool = False) -> T:
        """Return what `work` returns; every error comes out as a VenueError.

        `urgent` is for exits alone. Nobody is exempt from the venue's own wait: whoever sends
        into a ban makes it longer for all.
        """
        self._obey_wait()
        timed = self._timed(work, urgent=urgent)
        try:
            breaker = self.breaker
        except RedisError as error:
            if urgent:
                return timed()
            raise AwayError(f"The limits are unknown without Redis ({error}).") from error
        return breaker.call(timed, urgent=urgent)

    def _obey_wait(self) -> None:
        until = self.wait_until()
        if until > time.time():
            raise WaitError(f"The venue asks us to wait {until - time.time():.0f} s.", until)

    def wait_until(self) -> float:
        """Return until when nothing may be sent (epoch seconds), 0.0 where nothing is."""
        until = self._heard_until
        with contextlib.suppress(RedisError):
            until = max(until, self.waits.until())
        return until if until > time.time() else 0.0

    def _timed(self, work: Callable[[], T], *, urgent: bool) -> Callable[[], T]:
        def run() -> T:
            self._call.urgent = urgent
            return work()

        def timed() -> T:
            try:
                return within(self.limits.call_s, run)
            except DeadlineError as error:
                raise UnknownOutcomeError(str(error)) from error
            except VenueError:
                raise
            except Exception as error:
                raise classified(error, self.wait_until()) from error

        return timed

    def take_weight(self, cost: int) -> None:
        """Take one request's weight, before it is sent."""
        urgent = getattr(self._call, "urgent", False)
        try:
            self.bucket.take(cost, urgent=urgent)
        except RedisError as error:
            if not urgent:
                raise AwayError(f"The limits are unknown without Redis ({error}).") from error

    def hear(self, status: int, headers: Mapping[str, str], body: str) -> None:
        """Take in what an answer says of limits, and publish a wait that it asks for."""
        until = asked_until(status, headers, body)
        if until is not None:
            self._heard_until = max(self._heard_until, until)
        with contextlib.suppress(RedisError):
            if until is not None:
                self.waits.publish(until)
            used = headers.get("X-MBX-USED-WEIGHT-1M", "")
            if used.isdigit():
                self.bucket.heard(int(used))

    def standing(self) -> Standing:
        """Return how the venue stands; raises RedisError where the server is away."""
        return Standing(
            self.breaker.state,
            self.breaker.failures,
            self.waits.until(),
            self.bucket.used(),
            self.limits,
        )
