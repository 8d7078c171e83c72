"""A loopback venue of the test's own, with prices that the test sets, and a way to it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from homeostat.settings import Settings
from homeostat.store.embedded import EmbeddedServer
from homeostat.trading.venue.client import Endpoint
from homeostat.trading.venue.exchange import Exchange
from homeostat.trading.venue.guard import Guard, Limits
from homeostat.trading.venue.loopback import KEY, SECRET, LoopbackExchange, SetPrices, serving
from tests.loopback_venue import INSTRUMENTS, Loopback


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    prices = SetPrices({"BTCUSDT": 60_000.0, "DOGEUSDT": 0.1, "GONEUSDT": 1.0})
    exchange = LoopbackExchange(INSTRUMENTS, prices)
    with serving(exchange) as server:
        yield Loopback(exchange, prices, server)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an embedded server for all tests of the venue; each uses names of its own."""
    settings = Settings(state_dir=tmp_path_factory.mktemp("redis"))
    with EmbeddedServer(settings):
        yield settings.redis


@pytest.fixture
def connected(loopback: Loopback, redis_url: str) -> Callable[..., Exchange]:
    """Make connections to the loopback venue that share one guard's state, as workers do."""
    name = f"venue:{secrets.token_hex(6)}"

    def connect(**limits: Any) -> Exchange:
        redis = Redis.from_url(redis_url, decode_responses=True)
        guard = Guard(redis, redis_url, name, Limits(**limits))
        return Exchange(Endpoint(loopback.server.url, KEY, SECRET), guard)

    return connect
