"""What the loopback venue does when it is asked: one function a path, with the path's weight.

The weights are those of the Binance USDT-margined futures documentation; placing an order
costs none, as there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from homeostat.clock import new_id
from homeostat.trading.venue.loopback import refusals, wire
from homeostat.trading.venue.loopback.account import MOST_LEVERAGE, Kind, Placed
from homeostat.trading.venue.loopback.floor import Floor, Params, number
from homeostat.trading.venue.loopback.limits import WEIGHT_LIMIT
from homeostat.trading.venue.loopback.prices import MOST_CANDLES
from homeostat.trading.venue.loopback.refusals import RefusedError


def exchange_info(floor: Floor, params: Params) -> wire.Json:
    """Tell the limits and the symbols."""
    del params
    limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1}
    return {
        "timezone": "UTC",
        "serverTime": wire.now_ms(),
        "rateLimits": [{**limit, "limit": WEIGHT_LIMIT}],
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True}],
        "symbols": [wire.market(one) for one in floor.listing.values()],
    }


def klines(floor: Floor, params: Params) -> list[list[Any]]:
    """Tell the newest one-minute candles; other intervals are not spoken."""
    one = floor.listed(params)
    if params.get("interval") != "1m":
        raise RefusedError(refusals.Refusal(-1120, "Invalid interval."))
    count = min(int(params.get("limit", 500)), MOST_CANDLES)
    found = floor.prices.candles(one.symbol, count)
    first = int(params.get("startTime", 0))
    return [wire.kline(candle) for candle in found if candle[0] >= first]


def funding(floor: Floor, params: Params) -> list[wire.Json]:
    """Tell the newest funding rates of a symbol, oldest first."""
    one = floor.listed(params)
    price = floor.prices.now()[one.symbol]
    return wire.funding(one, price, min(int(params.get("limit", 100)), 1000))


def positions(floor: Floor, params: Params) -> list[wire.Json]:
    """Tell the positions that are open."""
    now = floor.prices.now()
    wanted = params.get("symbol")
    return [
        wire.position(floor.account, symbol, now.get(symbol, held.entry))
        for symbol, held in floor.account.held.items()
        if held.amount and (not wanted or symbol == wanted)
    ]


def _floating(floor: Floor) -> Decimal:
    found = (Decimal(one["unRealizedProfit"]) for one in positions(floor, {}))
    return sum(found, Decimal(0))


def account(floor: Floor, params: Params) -> wire.Json:
    """Tell balances and positions."""
    del params
    floating = _floating(floor)
    asset = wire.asset(floor.account, floating)
    return {
        "canTrade": True,
        "totalWalletBalance": asset["walletBalance"],
        "totalUnrealizedProfit": asset["unrealizedProfit"],
        "totalMarginBalance": asset["marginBalance"],
        "availableBalance": asset["availableBalance"],
        "assets": [asset],
        "positions": positions(floor, {}),
    }


def balance(floor: Floor, params: Params) -> list[wire.Json]:
    """Tell the balances."""
    del params
    return [wire.asset(floor.account, _floating(floor))]


def incomes(floor: Floor, params: Params) -> list[wire.Json]:
    """Tell what was paid and received since a moment, oldest first, at most 1,000 lines."""
    since, most = int(params.get("startTime", 0)), min(int(params.get("limit", 100)), 1000)
    kind, symbol = params.get("incomeType"), params.get("symbol")
    found = [
        wire.income(one)
        for one in floor.account.incomes
        if one.at_ms >= since and kind in {None, one.kind} and symbol in {None, one.symbol}
    ]
    return found[:most]


def set_leverage(floor: Floor, params: Params) -> wire.Json:
    """Set a symbol's leverage."""
    one = floor.listed(params)
    leverage = int(number(params, "leverage"))
    if not 1 <= leverage <= MOST_LEVERAGE:
        raise RefusedError(refusals.BAD_LEVERAGE)
    floor.account.leverage[one.symbol] = leverage
    return {"symbol": one.symbol, "leverage": leverage, "maxNotionalValue": "1000000"}


def brackets(floor: Floor, params: Params) -> list[wire.Json]:
    """Tell one bracket of leverage for each symbol."""
    del params
    bracket = {"bracket": 1, "initialLeverage": MOST_LEVERAGE, "notionalCap": 1_000_000}
    bracket |= {"notionalFloor": 0, "maintMarginRatio": 0.004, "cum": 0.0}  # type: ignore[dict-item]  # a rate among whole numbers
    return [{"symbol": symbol, "brackets": [bracket]} for symbol in floor.listing]


def _read(floor: Floor, params: Params, client_id: str, trigger: Decimal) -> Placed:
    """Read the order that is asked for; fields that are not known are ignored, as there."""
    one = floor.listed(params)
    reduce_only = params.get("reduceOnly", "").lower() == "true"
    close = params.get("closePosition", "").lower() == "true"
    if one.instrument.status != "TRADING" and not (reduce_only or close):
        raise RefusedError(refusals.NOT_TRADING)
    if params.get("side") not in {"BUY", "SELL"}:
        raise RefusedError(refusals.missing("side"))
    kind = Kind(params.get("type", ""))
    floor.orders += 1
    return Placed(
        id=floor.orders,
        client_id=client_id or new_id(),
        symbol=one.symbol,
        side=1 if params["side"] == "BUY" else -1,
        kind=kind,
        quantity=number(params, "quantity", "0" if close else None),
        reduce_only=reduce_only,
        close_position=close,
        price=number(params, "price") if kind is Kind.LIMIT else Decimal(0),
        trigger=trigger,
    )


def place(floor: Floor, params: Params) -> wire.Json:
    """Place an order that needs no trigger."""
    if params.get("type") not in {Kind.MARKET, Kind.LIMIT}:
        raise RefusedError(refusals.USE_ALGO)
    order = _read(floor, params, params.get("newClientOrderId", ""), Decimal(0))
    now = floor.prices.now()
    floor.account.place(order, now)
    floor.account.tick(now)
    return wire.order(order)


def place_algo(floor: Floor, params: Params) -> wire.Json:
    """Place a conditional order."""
    if params.get("type") not in {Kind.STOP_MARKET, Kind.TAKE_PROFIT_MARKET}:
        raise RefusedError(refusals.missing("type"))
    order = _read(floor, params, params.get("clientAlgoId", ""), number(params, "triggerPrice"))
    floor.account.place(order, floor.prices.now())
    return wire.algo_order(order)


def _found(floor: Floor, params: Params, *, conditional: bool) -> Placed | None:
    names = ("clientAlgoId", "algoId") if conditional else ("origClientOrderId", "orderId")
    if not any(params.get(name) for name in names):
        raise RefusedError(refusals.missing(names[0]))
    client_id, number_ = (params.get(name, "") for name in names)
    return floor.account.find(conditional=conditional, client_id=client_id, id_=int(number_ or 0))


def look_up(floor: Floor, params: Params) -> wire.Json:
    """Tell what became of an order."""
    order = _found(floor, params, conditional=False)
    if order is None:
        raise RefusedError(refusals.NO_SUCH_ORDER)
    return wire.order(order)


def look_up_algo(floor: Floor, params: Params) -> wire.Json:
    """Tell what became of a conditional order."""
    order = _found(floor, params, conditional=True)
    if order is None:
        raise RefusedError(refusals.NO_SUCH_ORDER)
    return wire.algo_order(order)


def cancel(floor: Floor, params: Params) -> wire.Json:
    """Cancel a resting order."""
    order = _found(floor, params, conditional=False)
    if order is None:
        raise RefusedError(refusals.NOT_CANCELED)
    floor.account.cancel(order)
    return wire.order(order)


def cancel_algo(floor: Floor, params: Params) -> wire.Json:
    """Cancel a resting conditional order."""
    order = _found(floor, params, conditional=True)
    if order is None:
        raise RefusedError(refusals.NOT_CANCELED)
    floor.account.cancel(order)
    found = {"algoId": order.id, "clientAlgoId": order.client_id}
    return {**found, "code": "200", "msg": "success"}


def open_orders(floor: Floor, params: Params) -> list[wire.Json]:
    """Tell the orders that rest."""
    found = floor.account.open(conditional=False, symbol=params.get("symbol"))
    return [wire.order(one) for one in found]


def open_algo_orders(floor: Floor, params: Params) -> list[wire.Json]:
    """Tell the conditional orders that rest."""
    found = floor.account.open(conditional=True, symbol=params.get("symbol"))
    return [wire.algo_order(one) for one in found]


@dataclass(frozen=True)
class Endpoint:
    """One path: what it does, what it weighs with a symbol and without, whether it is signed."""

    answer: Callable[[Floor, Params], Any]
    weight: int = 1
    weight_of_all: int = 0
    signed: bool = True

    def cost(self, params: Params) -> int:
        """Return the weight of a request."""
        if self.answer is klines:
            limit = int(params.get("limit", 500))
            return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10
        return self.weight if params.get("symbol") else self.weight_of_all or self.weight


def _public(
    answer: Callable[[Floor, Params], Any], weight: int = 1, weight_of_all: int = 0
) -> Endpoint:
    return Endpoint(answer, weight, weight_of_all, signed=False)


ENDPOINTS: Mapping[str, Endpoint] = {
    "GET /fapi/v1/ping": _public(lambda _floor, _params: {}),
    "GET /fapi/v1/time": _public(lambda _floor, _params: {"serverTime": wire.now_ms()}),
    "GET /fapi/v1/exchangeInfo": _public(exchange_info),
    "GET /fapi/v1/klines": _public(klines),
    "GET /fapi/v1/ticker/bookTicker": _public(lambda f, p: f.one_or_all(p, wire.book), 2, 5),
    "GET /fapi/v1/ticker/24hr": _public(lambda f, p: f.one_or_all(p, wire.day), 1, 40),
    "GET /fapi/v1/premiumIndex": _public(lambda f, p: f.one_or_all(p, wire.premium), 1, 10),
    "GET /fapi/v1/fundingRate": _public(funding),
    "GET /fapi/v3/account": Endpoint(account, 5),
    "GET /fapi/v3/balance": Endpoint(balance, 5),
    "GET /fapi/v3/positionRisk": Endpoint(positions, 5),
    "GET /fapi/v1/income": Endpoint(incomes, 30, 30),
    "GET /fapi/v1/leverageBracket": Endpoint(brackets),
    "POST /fapi/v1/leverage": Endpoint(set_leverage),
    "POST /fapi/v1/order": Endpoint(place, 0),
    "GET /fapi/v1/order": Endpoint(look_up),
    "DELETE /fapi/v1/order": Endpoint(cancel),
    "GET /fapi/v1/openOrders": Endpoint(open_orders, 1, 40),
    "POST /fapi/v1/algoOrder": Endpoint(place_algo, 0),
    "GET /fapi/v1/algoOrder": Endpoint(look_up_algo),
    "DELETE /fapi/v1/algoOrder": Endpoint(cancel_algo),
    "GET /fapi/v1/openAlgoOrders": Endpoint(open_algo_orders, 1, 40),
}
