"""The outside venue as the trade flow needs it: place, find, cancel, and what is there.

Every method goes through the guard and raises a VenueError where it has no clear answer.
Symbols are the venue's own names (`BTCUSDT`), quantities in units of the base.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from homeostat.trading.market.panel import Candles, Instrument
from homeostat.trading.venue import listing, rows
from homeostat.trading.venue.guard import Guard
from homeostat.trading.venue.incomes import Income, income_of
from homeostat.trading.venue.outcomes import (
    BadRowsError,
    RefusedError,
    UnknownOutcomeError,
)
from homeostat.trading.venue.tickets import (
    Holding,
    Kind,
    Report,
    Ticket,
    naming,
    report_of,
    resting_of,
)

if TYPE_CHECKING:
    from homeostat.trading.venue.client import BinanceClient, Endpoint

T = TypeVar("T")
#: How long the venue may take an order in after we decided to send it, in seconds.
RECEIVE_S = 10.0
#: -4164: the venue's code for an order below the minimum notional, used for our own check too.
BELOW_NOTIONAL = -4164
NO_SUCH_ORDER = -2013
NOT_RESTING = -2011


class Exchange:
    """The venue behind ccxt and the guard."""

    def __init__(self, endpoint: Endpoint, guard: Guard) -> None:
        """Connect at first use."""
        self.guard = guard
        self._endpoint = endpoint
        self._client: BinanceClient | None = None

    def _call(self, work: Callable[[BinanceClient], T], *, urgent: bool = False) -> T:
        client = self._connected()

        def run() -> T:
            if not client.markets:
                client.load_markets()
            return work(client)

        try:
            return self.guard.call(run, urgent=urgent)
        except UnknownOutcomeError:
            # The call may still be going on in its thread: it keeps its client for itself.
            if self._client is client:
                self._client = self._successor(client)
            raise

    def _connected(self) -> BinanceClient:
        if self._client is None:
            self._client = self._new_client()
        return self._client

    def _new_client(self) -> BinanceClient:
        from homeostat.trading.venue.client import connect

        guard = self.guard
        return connect(self._endpoint, guard.take_weight, guard.hear, timeout_s=guard.limits.call_s)

    def _successor(self, client: BinanceClient) -> BinanceClient:
        found = self._new_client()
        if client.markets:
            found.set_markets(list(client.markets.values()))
            found.options["timeDifference"] = client.options["timeDifference"]
        return found

    def place(self, ticket: Ticket, price: float, sent_at: float | None = None) -> Report:
        """Place an order; `price` is about what it will be filled at, for the minimum notional.

        The venue takes it in until RECEIVE_S after `sent_at` (epoch seconds) and never later,
        however long it was held up. Raises RefusedError, WaitError or AwayError where it was
        certainly not placed, and UnknownOutcomeError where it may have been.
        """
        moment = time.time() if sent_at is None else sent_at
        return self._call(
            lambda client: _placed(client, ticket, price, moment), urgent=ticket.reduce_only
        )

    def find(self, ticket: Ticket) -> Report | None:
        """Return what became of an order, None where the venue does not know it."""
        try:
            return self._call(
                lambda client: report_of(
                    client.fetch_order(None, _unified(client, ticket.symbol), naming(ticket)),
                    ticket.client_id,
                ),
                urgent=ticket.reduce_only,
            )
        except RefusedError as error:
            if error.code == NO_SUCH_ORDER:
                return None
            raise

    def cancel(self, ticket: Ticket) -> None:
        """Cancel an order that rests; one that rests no more is no error."""
        try:
            self._call(
                lambda client: client.cancel_order(
                    None, _unified(client, ticket.symbol), naming(ticket)
                ),
                urgent=True,
            )
        except RefusedError as error:
            if error.code != NOT_RESTING:
                raise

    def resting(self, symbol: str | None = None) -> list[Ticket]:
        """Return the conditional orders that rest at the venue, of one symbol or of all."""
        asked = {} if symbol is None else {"symbol": symbol}
        found = self._call(lambda client: client.fapiPrivateGetOpenAlgoOrders(asked), urgent=True)
        needed = ("clientAlgoId", "symbol", "side", "quantity", "orderType", "triggerPrice")
        return [resting_of(record) for record in rows.records(found, *needed)]

    def holdings(self) -> dict[str, Holding]:
        """Return the positions that are open at the venue, by symbol."""
        found = self._call(lambda client: client.fapiPrivateV3GetPositionRisk(), urgent=True)
        read = [
            Holding(one["symbol"], float(one["positionAmt"]), float(one["entryPrice"]))
            for one in rows.records(found, "symbol", "positionAmt", "entryPrice")
        ]
        return {one.symbol: one for one in read if one.quantity}

    def candles(self, symbol: str, bars: int) -> Candles:
        """Return the newest closed one-minute candles; raises BadRowsError where unfit."""
        found = self._call(
            lambda client: client.fetch_ohlcv(_unified(client, symbol), "1m", limit=bars + 1)
        )
        return rows.candles(symbol, found, time.time())

    def balance(self) -> float:
        """Return the wallet's balance in the quote currency."""
        found = self._call(lambda client: client.fapiPrivateV3GetAccount())
        told = found.get("totalWalletBalance") if isinstance(found, dict) else None
        if told is None:
            raise BadRowsError("The venue's account has no balance.")
        return float(told)

    def incomes(self, since: float) -> list[Income]:
        """Return what was paid and received since a moment (epoch seconds), oldest first.

        At most 1,000 lines: who gets that many asks again from the last one on.
        """
        asked = {"startTime": int(1000 * since), "limit": 1000}
        found = self._call(lambda client: client.fapiPrivateGetIncome(asked))
        needed = ("incomeType", "income", "time", "tranId")
        return [income_of(record) for record in rows.records(found, *needed)]

    def instruments(self, most: int) -> list[Instrument]:
        """Return the perpetuals that are traded against USDT, the busiest ones first."""
        return self._call(lambda client: listing.instruments(client, most))

    def set_leverage(self, symbol: str, leverage: int) -> None:
        """Set a symbol's leverage."""
        self._call(lambda client: client.set_leverage(leverage, _unified(client, symbol)))


def _unified(client: BinanceClient, symbol: str) -> str:
    """Return ccxt's name of a symbol; raises RefusedError where the venue does not list it."""
    found = client.markets_by_id.get(symbol)
    if not found:
        raise RefusedError(f"The venue does not list {symbol}.", -1121)
    return str(found[0]["symbol"])


def _placed(client: BinanceClient, ticket: Ticket, price: float, sent_at: float) -> Report:
    symbol = _unified(client, ticket.symbol)
    least = client.market(symbol)["limits"]["cost"]["min"]
    if not ticket.reduce_only:
        quantity = float(client.amount_to_precision(symbol, ticket.quantity))
        if least is not None and quantity * price < least:
            # ccxt does not look; the venue would refuse it with the same code.
            raise RefusedError(
                f"{quantity * price:.2f} is below the least notional of {symbol}, {least:g}.",
                BELOW_NOTIONAL,
            )
    params: dict[str, Any] = {"reduceOnly": True} if ticket.reduce_only else {}
    if ticket.conditional:
        trigger = "stopLossPrice" if ticket.kind is Kind.STOP else "takeProfitPrice"
        params |= {"clientAlgoId": ticket.client_id, trigger: ticket.trigger}
    else:
        params["newClientOrderId"] = ticket.client_id
    # The moment of the decision to send, not of the signature: the venue itself then refuses what
    # a stopped process or a slow network brings too late.
    params["timestamp"] = int(1000 * sent_at) - client.options["timeDifference"]
    params["recvWindow"] = int(1000 * RECEIVE_S)
    side = "buy" if ticket.side > 0 else "sell"
    found = client.create_order(symbol, "market", side, ticket.quantity, None, params)
    return report_of(found, ticket.client_id)
