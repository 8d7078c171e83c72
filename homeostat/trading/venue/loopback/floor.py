"""What the loopback venue's paths work on, and how they read a request's fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from homeostat.trading.venue.loopback import refusals, wire
from homeostat.trading.venue.loopback.account import Account
from homeostat.trading.venue.loopback.prices import Listed, Prices
from homeostat.trading.venue.loopback.refusals import RefusedError

Params = Mapping[str, str]


@dataclass
class Floor:
    """What the paths work on: the account, the prices, and the next order's number."""

    account: Account
    prices: Prices
    orders: int = 0

    @property
    def listing(self) -> Mapping[str, Listed]:
        """The symbols that are listed."""
        return self.account.listing

    def listed(self, params: Params) -> Listed:
        """Return the symbol that is asked about; raises RefusedError."""
        symbol = params.get("symbol")
        if not symbol:
            raise RefusedError(refusals.missing("symbol"))
        if symbol not in self.listing:
            raise RefusedError(refusals.UNKNOWN_SYMBOL)
        return self.listing[symbol]

    def one_or_all(
        self, params: Params, write: Callable[[Listed, Decimal], wire.Json]
    ) -> wire.Json | list[wire.Json]:
        """Write the symbol that is asked about, or all of them where none is named."""
        now = self.prices.now()
        if params.get("symbol"):
            one = self.listed(params)
            return write(one, now[one.symbol])
        return [write(one, now[one.symbol]) for one in self.listing.values() if one.symbol in now]


def number(params: Params, name: str, usual: str | None = None) -> Decimal:
    """Return a number field; raises RefusedError where it is missing or none."""
    given = params.get(name, usual)
    try:
        return Decimal(given or "")
    except InvalidOperation:
        raise RefusedError(refusals.missing(name)) from None
