"""The ccxt client of the venue, with the options that a keyed client needs.

Without them it would ask for currencies and margin pairs (private calls, other hosts) and load
the spot and inverse markets. Its retries (`maxRetriesOnFailure`) stay unset: they send into a
ban, and they send an order whose answer was lost a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import ccxt

from homeostat.trading.venue.deadline import CALL_S

#: How long the venue may take a request in after it was signed, in milliseconds.
RECEIVE_MS = 5000
_VERSIONS = {
    "fapiPublic": "v1",
    "fapiPublicV2": "v2",
    "fapiPrivate": "v1",
    "fapiPrivateV2": "v2",
    "fapiPrivateV3": "v3",
}


@dataclass(frozen=True)
class Endpoint:
    """Where the venue is, and who we are there; an empty address is the real exchange's own."""

    url: str = ""
    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)


# ccxt's types say of almost everything that it may be None; what comes of it is checked here.
_Base: Any = ccxt.binanceusdm


class BinanceClient(_Base):  # type: ignore[misc]  # see above
    """ccxt's client with our own throttle and an ear for every answer."""

    #: Called with the weight of each request before it is sent.
    take_weight: Callable[[int], None]
    #: Called with status, headers and text of each answer.
    hear: Callable[[int, Mapping[str, str], str], None]

    def throttle(self, cost: float | None = None) -> None:
        """Wait for the weight of one request, in the bucket that all processes share."""
        self.take_weight(ceil(cost or 1))

    def on_rest_response(
        self, code: int, reason: str, url: str, method: str, response_headers: Any, *more: Any
    ) -> Any:
        """Pass the answer on, and tell of it."""
        found = super().on_rest_response(code, reason, url, method, response_headers, *more)
        self.hear(code, response_headers, found)
        return found

    def get_exceptions_by_url(self, url: str, exactOrBroad: str) -> Any:  # noqa: N803  # ccxt's name
        """Give the linear market's meaning of each code, wherever the venue is."""
        del url
        return self.exceptions.get("linear", {}).get(exactOrBroad, {})


def connect(
    endpoint: Endpoint,
    take_weight: Callable[[int], None],
    hear: Callable[[int, Mapping[str, str], str], None],
    *,
    timeout_s: float = CALL_S,
) -> BinanceClient:
    """Return a client of the venue; it sends nothing yet."""
    client = BinanceClient(
        {
            "apiKey": endpoint.key,
            "secret": endpoint.secret,
            "enableRateLimit": True,
            "timeout": int(1000 * timeout_s),
            "options": {
                "fetchCurrencies": False,
                "fetchMargins": False,
                "fetchMarkets": {"types": ["linear"]},
                "defaultType": "swap",
                "defaultSubType": "linear",
                "adjustForTimeDifference": True,
                "recvWindow": RECEIVE_MS,
                "fetchOpenOrders": {"warnWithoutSymbol": False},
            },
        }
    )
    client.take_weight, client.hear = take_weight, hear
    if endpoint.url:
        # Nothing but these five: a call to any other part of ccxt's Binance fails here at once.
        client.urls["api"] = {
            name: f"{endpoint.url}/fapi/{version}" for name, version in _VERSIONS.items()
        }
        client.session.trust_env = False
    return client
