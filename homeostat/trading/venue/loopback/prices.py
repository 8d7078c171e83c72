"""Where the loopback venue's prices come from: set by hand, or the market of the settings."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from math import ceil, floor, log10
from typing import Protocol

from homeostat.settings import Settings
from homeostat.trading.market import port
from homeostat.trading.market.panel import BAR_S, Instrument, Panel

#: One candle on the wire: opening moment in milliseconds, then the prices and the volume.
Candle = tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal]
#: The most candles that the venue gives at once.
MOST_CANDLES = 1500


class Prices(Protocol):
    """The present price of every symbol, and the candles that lead to it."""

    def now(self) -> Mapping[str, Decimal]:
        """Return the price of each symbol."""

    def candles(self, symbol: str, count: int) -> list[Candle]:
        """Return the newest candles, oldest first; the last one has not closed yet."""


@dataclass(frozen=True)
class Listed:
    """A symbol as the venue lists it."""

    instrument: Instrument
    #: Prices are whole multiples of `tick`, quantities of `step`.
    tick: Decimal
    step: Decimal
    min_notional: Decimal

    @property
    def symbol(self) -> str:
        """Its name at the venue."""
        return self.instrument.symbol

    def rounded(self, price: Decimal) -> Decimal:
        """Return the nearest price that the venue can quote."""
        return (price / self.tick).quantize(Decimal(1)) * self.tick


def listed(instrument: Instrument, price: Decimal) -> Listed:
    """List an instrument with a tick and a step that suit its price."""
    size = log10(float(price))
    # Six digits of the price, and a step that is worth half a dollar at most.
    tick = Decimal(10) ** (floor(size) - 5)
    step = Decimal(10) ** -max(0, ceil(size - log10(0.5)))
    return Listed(instrument, tick, step, Decimal(str(instrument.min_notional)))


class SetPrices:
    """Prices that somebody sets; the candles are flat."""

    def __init__(self, prices: Mapping[str, float]) -> None:
        """Begin with these prices."""
        self._prices = {symbol: Decimal(str(price)) for symbol, price in prices.items()}

    def put(self, symbol: str, price: float) -> None:
        """Set the price of one symbol."""
        self._prices[symbol] = Decimal(str(price))

    def now(self) -> Mapping[str, Decimal]:
        """Return the prices as they were set."""
        return self._prices

    def candles(self, symbol: str, count: int) -> list[Candle]:
        """Return flat candles at the present price."""
        price, last = self._prices[symbol], int(time.time()) // BAR_S
        return [
            (minute * BAR_S * 1000, price, price, price, price, Decimal(1))
            for minute in range(last - count + 1, last + 1)
        ]


class MarketPrices:
    """The prices of the market that the settings name: the same that the flow sees."""

    def __init__(self, settings: Settings) -> None:
        """Read the market of these settings."""
        self.market = port.market(settings)
        self._panel: Panel | None = None

    def now(self) -> Mapping[str, Decimal]:
        """Return the newest close of each symbol."""
        panel = self._newest()
        return {
            symbol: Decimal(repr(float(close)))
            for symbol, close in zip(panel.symbols, panel.close[:, -1], strict=True)
            if close == close  # noqa: PLR0124  # NaN is not equal to itself
        }

    def candles(self, symbol: str, count: int) -> list[Candle]:
        """Return the newest candles of the market."""
        panel = self._newest()
        row = panel.symbols.index(symbol)
        columns = [
            [Decimal(repr(float(price))) for price in column[row, -count:]]
            for column in (panel.open, panel.high, panel.low, panel.close, panel.volume)
        ]
        opened = [int(at) * 1000 for at in panel.times[-count:]]
        return list(zip(opened, *columns, strict=True))

    def _newest(self) -> Panel:
        now = datetime.now(UTC)
        last = int(now.timestamp()) // BAR_S - 1
        if self._panel is None or int(self._panel.times[-1]) // BAR_S != last:
            self._panel = self.market.panel(now, MOST_CANDLES)
        return self._panel


def listing(instruments: Iterable[Instrument], prices: Prices) -> dict[str, Listed]:
    """List every instrument that has a price, by symbol."""
    now = prices.now()
    return {one.symbol: listed(one, now[one.symbol]) for one in instruments if one.symbol in now}
