"""The connection to the Redis server of the settings: one client per process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from urllib.parse import urlsplit

from redis import ConnectionError as RedisConnectionError
from redis import Redis
from redis import TimeoutError as RedisTimeoutError
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError
from redis.retry import Retry

from homeostat.errors import BrokerUnavailableError
from homeostat.settings import settings

#: A half-open connection would otherwise hang its process for good.
SOCKET_TIMEOUT_S = 5.0
HEALTH_CHECK_S = 10


@lru_cache(maxsize=4)
def _client_of(url: str, pid: int) -> Redis:
    # The pid is part of the key because a forked child must not use its parent's connections.
    del pid
    return Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
        health_check_interval=HEALTH_CHECK_S,
        # One retry takes up a connection that a restarted server has closed. Only a lost
        # connection is retried: after a time-out the command may well have been carried out.
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
    )


def client() -> Redis:
    """Return this process's client; it connects at the first command and again after a loss."""
    return _client_of(settings().redis, os.getpid())


@contextmanager
def unavailable_named() -> Iterator[None]:
    """Turn a lost or silent server into BrokerUnavailableError with what to do."""
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError, BusyLoadingError) as error:
        raise BrokerUnavailableError(
            f"The Redis server at {_address(settings().redis)} does not answer ({error}); "
            "run `homeostat up`, or check HOMEOSTAT_REDIS_URL and that the server is up."
        ) from error


def _address(url: str) -> str:
    """Return a URL as it may be told: without the user and the password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def answers() -> bool:
    """Return whether the server answers now."""
    try:
        with unavailable_named():
            return bool(client().ping())
    except BrokerUnavailableError:
        return False
