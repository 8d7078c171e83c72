"""The one account of the loopback venue: orders, fills, positions, and stops that rest.

One-way mode and cross margin. A market order fills at once at the book's price; a conditional
order rests until the price touches its trigger, and then fills like a market order.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from homeostat.trading.venue.loopback import refusals
from homeostat.trading.venue.loopback.prices import Listed
from homeostat.trading.venue.loopback.refusals import RefusedError

#: Taker fee of one side, as on the real venue.
FEE = Decimal("0.0005")
FIRST_BALANCE = Decimal(10_000)
MOST_LEVERAGE = 125
USUAL_LEVERAGE = 20
FUNDING_MS = 8 * 3600 * 1000


class Kind(StrEnum):
    """The kinds of order that are spoken here."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP_MARKET = "STOP_MARKET"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"


CONDITIONAL = (Kind.STOP_MARKET, Kind.TAKE_PROFIT_MARKET)


@dataclass
class Placed:
    """An order as the venue keeps it; `side` is 1 to buy, -1 to sell."""

    id: int
    client_id: str
    symbol: str
    side: int
    kind: Kind
    quantity: Decimal
    reduce_only: bool
    price: Decimal = Decimal(0)
    trigger: Decimal = Decimal(0)
    close_position: bool = False
    status: str = "NEW"
    average: Decimal = Decimal(0)
    executed: Decimal = Decimal(0)
    created_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    updated_ms: int = 0

    @property
    def conditional(self) -> bool:
        """Whether it waits for a trigger, and so lives among the algo orders."""
        return self.kind in CONDITIONAL


@dataclass
class Held:
    """A net position; a negative amount is short."""

    amount: Decimal = Decimal(0)
    entry: Decimal = Decimal(0)
    updated_ms: int = 0


@dataclass(frozen=True)
class Fill:
    """One execution, for those who count."""

    client_id: str
    symbol: str
    side: int
    quantity: Decimal
    price: Decimal
    fee: Decimal


@dataclass(frozen=True)
class Income:
    """One line of the account: what was paid (negative) or received, and for what."""

    id: int
    kind: str
    symbol: str
    amount: Decimal
    at_ms: int


class Account:
    """Everything that the venue knows of the one user."""

    def __init__(self, listing: Mapping[str, Listed]) -> None:
        """Open an account with FIRST_BALANCE for these symbols."""
        self.listing = listing
        self.wallet = FIRST_BALANCE
        self.orders: list[Placed] = []
        self.fills: list[Fill] = []
        self.held: dict[str, Held] = {}
        self.leverage: dict[str, int] = {}
        self.incomes: list[Income] = []
        self._funded = _now_ms() // FUNDING_MS

    def place(self, order: Placed, prices: Mapping[str, Decimal]) -> Placed:
        """Take an order in, fill it where it can be filled; raises RefusedError."""
        price = prices[order.symbol]
        self._check(order, price)
        self.orders.append(order)
        if order.kind is Kind.MARKET:
            self._fill(order, price)
        return order

    def _check(self, order: Placed, price: Decimal) -> None:
        for one in self.open(conditional=order.conditional):
            if one.client_id == order.client_id:
                raise RefusedError(refusals.DUPLICATE)
        self._check_size(order, price)
        amount = self.amount(order.symbol)
        if order.reduce_only:
            # A conditional order may rest before there is anything to reduce.
            if not order.conditional and amount * order.side >= 0:
                raise RefusedError(refusals.NOTHING_TO_REDUCE)
        elif self._margin(order, price) > self.free(price_of={order.symbol: price}):
            raise RefusedError(refusals.NO_MARGIN)
        if order.conditional and self._touched(order, price):
            raise RefusedError(refusals.WOULD_TRIGGER)

    def _check_size(self, order: Placed, price: Decimal) -> None:
        rules = self.listing[order.symbol]
        if order.close_position:
            return
        if order.quantity <= 0:
            raise RefusedError(refusals.TOO_SMALL)
        if order.quantity % rules.step or order.price % rules.tick or order.trigger % rules.tick:
            raise RefusedError(refusals.TOO_PRECISE)
        at = order.price or order.trigger or price
        if not order.reduce_only and order.quantity * at < rules.min_notional:
            raise RefusedError(refusals.min_notional(rules.min_notional))

    def _margin(self, order: Placed, price: Decimal) -> Decimal:
        amount = self.amount(order.symbol)
        grown = abs(amount + order.side * order.quantity) - abs(amount)
        return max(Decimal(0), grown) * price / self.leverage_of(order.symbol)

    def free(self, price_of: Mapping[str, Decimal]) -> Decimal:
        """Return the balance that no position binds."""
        bound = sum(
            (
                abs(one.amount) * price_of.get(symbol, one.entry) / self.leverage_of(symbol)
                for symbol, one in self.held.items()
            ),
            Decimal(0),
        )
        return self.wallet - bound

    def leverage_of(self, symbol: str) -> int:
        """Return the leverage that is set for a symbol."""
        return self.leverage.get(symbol, USUAL_LEVERAGE)

    def amount(self, symbol: str) -> Decimal:
        """Return the net position in a symbol."""
        return self.held.get(symbol, Held()).amount

    def open(self, *, conditional: bool, symbol: str | None = None) -> Iterator[Placed]:
        """Yield the orders that rest."""
        for one in self.orders:
            fits = one.conditional is conditional and symbol in {None, one.symbol}
            if fits and one.status == "NEW":
                yield one

    def find(self, *, conditional: bool, client_id: str = "", id_: int = 0) -> Placed | None:
        """Return the newest order under that id, whatever became of it."""
        for one in reversed(self.orders):
            if one.conditional is conditional and (one.client_id == client_id or one.id == id_):
                return one
        return None

    def cancel(self, order: Placed) -> None:
        """Take a resting order away; raises RefusedError where it rests no more."""
        if order.status != "NEW":
            raise RefusedError(refusals.NOT_CANCELED)
        self._end(order, "CANCELED")

    def tick(self, prices: Mapping[str, Decimal]) -> None:
        """Let the present prices touch what rests, and funding be paid where it is due."""
        if _now_ms() // FUNDING_MS > self._funded:
            self.fund(prices)
        for order in [one for one in self.orders if one.status == "NEW"]:
            price = prices.get(order.symbol)
            if price is not None and self._touched(order, price):
                self._fill(order, order.price or price)

    def fund(self, prices: Mapping[str, Decimal]) -> None:
        """Let longs pay shorts, or the other way round, by each symbol's rate."""
        self._funded = _now_ms() // FUNDING_MS
        for symbol, held in self.held.items():
            if held.amount:
                rate = Decimal(repr(self.listing[symbol].instrument.funding_rate))
                self._earn("FUNDING_FEE", symbol, -held.amount * prices[symbol] * rate)

    def transfer(self, amount: Decimal) -> None:
        """Pay money in, or out where it is negative."""
        self._earn("TRANSFER", "", amount)

    def _earn(self, kind: str, symbol: str, amount: Decimal) -> None:
        self.wallet += amount
        self.incomes.append(Income(len(self.incomes) + 1, kind, symbol, amount, _now_ms()))

    def _touched(self, order: Placed, price: Decimal) -> bool:
        if order.kind is Kind.LIMIT:
            return order.side * (order.price - price) >= 0
        # A stop to sell lies below the price, a take-profit to sell above it; to buy, mirrored.
        below = (order.kind is Kind.STOP_MARKET) == (order.side < 0)
        return price <= order.trigger if below else price >= order.trigger

    def _fill(self, order: Placed, price: Decimal) -> None:
        held = self.held.setdefault(order.symbol, Held())
        quantity = abs(held.amount) if order.close_position else order.quantity
        if order.reduce_only or order.close_position:
            against = held.amount * order.side < 0
            quantity = min(quantity, abs(held.amount)) if against else Decimal(0)
        if not quantity:
            self._end(order, "EXPIRED")
            return
        rules = self.listing[order.symbol]
        spread = Decimal(repr(rules.instrument.half_spread))
        order.average = rules.rounded(price * (1 + order.side * spread)) or rules.tick
        order.executed = quantity
        fee = FEE * order.average * quantity
        self._book(order.symbol, held, order.side * quantity, order.average)
        self._earn("COMMISSION", order.symbol, -fee)
        self._end(order, "FINISHED" if order.conditional else "FILLED")
        held.updated_ms = order.updated_ms
        self.fills.append(
            Fill(order.client_id, order.symbol, order.side, quantity, order.average, fee)
        )

    def _book(self, symbol: str, held: Held, change: Decimal, price: Decimal) -> None:
        after = held.amount + change
        if held.amount * change >= 0:
            held.entry = (abs(held.amount) * held.entry + abs(change) * price) / abs(after)
        else:
            sign = 1 if held.amount > 0 else -1
            closed = min(abs(change), abs(held.amount))
            self._earn("REALIZED_PNL", symbol, sign * closed * (price - held.entry))
            if abs(change) > abs(held.amount):
                held.entry = price
        held.amount = after
        if not after:
            held.entry = Decimal(0)

    def _end(self, order: Placed, status: str) -> None:
        order.status, order.updated_ms = status, _now_ms()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
