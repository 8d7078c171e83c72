"""A loopback venue of the test's own, with prices that the test sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ccxt

from homeostat.trading.market.panel import Instrument
from homeostat.trading.venue.loopback import (
    KEY,
    SECRET,
    Fault,
    FaultKind,
    LoopbackExchange,
    LoopbackServer,
    SetPrices,
)

INSTRUMENTS = (
    Instrument("BTCUSDT", base="BTC", half_spread=0.0001),
    Instrument("DOGEUSDT", base="DOGE", half_spread=0.0001),
    Instrument("GONEUSDT", base="GONE", status="SETTLING"),
)
BTC = "BTC/USDT:USDT"


@dataclass(frozen=True)
class Loopback:
    """The exchange, its prices and its server, and a client as anybody would write it."""

    exchange: LoopbackExchange
    prices: SetPrices
    server: LoopbackServer

    def put(self, kind: FaultKind, on: str = "", **fields: Any) -> None:
        self.exchange.script.put([Fault(kind, on, **fields)])

    def fills(self, client_id: str) -> int:
        return sum(fill.client_id == client_id for fill in self.exchange.account.fills)

    def amount(self, symbol: str = "BTCUSDT") -> float:
        return float(self.exchange.account.amount(symbol))

    def requests(self, line: str) -> int:
        return sum(one == line for one, _ in self.exchange.log)

    def naive(self, **options: Any) -> Any:
        """Return plain ccxt with its own defaults, but pointed here."""
        given: Any = {"apiKey": KEY, "secret": SECRET, **options}
        client: Any = ccxt.binanceusdm(given)
        client.session.trust_env = False
        client.options |= {"fetchCurrencies": False}
        versions = {"fapiPublic": 1, "fapiPublicV2": 2}
        versions |= {"fapiPrivate": 1, "fapiPrivateV2": 2, "fapiPrivateV3": 3}
        client.urls["api"] = {
            name: f"{self.server.url}/fapi/v{version}" for name, version in versions.items()
        }
        return client
