"""A loopback venue of the test's own, with prices that the test sets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from homeostat.trading.venue.loopback import LoopbackExchange, SetPrices, serving
from tests.loopback_venue import INSTRUMENTS, Loopback


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    prices = SetPrices({"BTCUSDT": 60_000.0, "DOGEUSDT": 0.1, "GONEUSDT": 1.0})
    exchange = LoopbackExchange(INSTRUMENTS, prices)
    with serving(exchange) as server:
        yield Loopback(exchange, prices, server)
