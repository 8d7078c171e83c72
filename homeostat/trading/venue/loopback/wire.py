"""How the loopback venue writes its answers: the field names and text numbers of the real one."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

from homeostat.trading.venue.loopback.account import FUNDING_MS, Account, Income, Kind, Placed
from homeostat.trading.venue.loopback.prices import Candle, Listed

Json = dict[str, Any]
#: What a perpetual contract has for a delivery date.
NEVER_MS = 4_133_404_800_000
_DAY_MS = 86_400_000


def now_ms() -> int:
    """Return the venue's clock in milliseconds."""
    return time.time_ns() // 1_000_000


def text(number: Decimal) -> str:
    """Return a number as the venue writes it: a text without exponent."""
    return format(number, "f")


def _side(side: int) -> str:
    return "BUY" if side > 0 else "SELL"


def market(one: Listed) -> Json:
    """Return a symbol's entry in `exchangeInfo`."""
    coin = one.instrument
    return {
        "symbol": one.symbol,
        "pair": one.symbol,
        "contractType": coin.contract,
        "deliveryDate": NEVER_MS,
        "onboardDate": now_ms() - int(coin.age_days * _DAY_MS),
        "status": coin.status,
        "baseAsset": coin.base,
        "quoteAsset": coin.quote,
        "marginAsset": coin.quote,
        "pricePrecision": max(0, -int(one.tick.adjusted())),
        "quantityPrecision": max(0, -int(one.step.adjusted())),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "orderTypes": [kind.value for kind in Kind],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": text(one.tick),
                "maxPrice": "1000000000",
                "tickSize": text(one.tick),
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": text(one.step),
                "maxQty": "1000000000",
                "stepSize": text(one.step),
            },
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": text(one.step),
                "maxQty": "1000000000",
                "stepSize": text(one.step),
            },
            {"filterType": "MIN_NOTIONAL", "notional": text(one.min_notional)},
        ],
    }


def order(one: Placed) -> Json:
    """Return an order as `/fapi/v1/order` tells of it."""
    return {
        "orderId": one.id,
        "clientOrderId": one.client_id,
        "symbol": one.symbol,
        "status": one.status,
        "side": _side(one.side),
        "positionSide": "BOTH",
        "type": one.kind.value,
        "origType": one.kind.value,
        "timeInForce": "GTC",
        "origQty": text(one.quantity),
        "executedQty": text(one.executed),
        "cumQuote": text(one.executed * one.average),
        "avgPrice": text(one.average),
        "price": text(one.price),
        "stopPrice": "0",
        "reduceOnly": one.reduce_only,
        "closePosition": one.close_position,
        "workingType": "CONTRACT_PRICE",
        "time": one.created_ms,
        "updateTime": one.updated_ms or one.created_ms,
    }


def algo_order(one: Placed) -> Json:
    """Return a conditional order as `/fapi/v1/algoOrder` tells of it."""
    return {
        "algoId": one.id,
        "clientAlgoId": one.client_id,
        "algoType": "CONDITIONAL",
        "orderType": one.kind.value,
        "symbol": one.symbol,
        "side": _side(one.side),
        "positionSide": "BOTH",
        "timeInForce": "GTC",
        "quantity": text(one.quantity),
        "algoStatus": one.status,
        "triggerPrice": text(one.trigger),
        "price": "0",
        "actualPrice": text(one.average),
        "actualQty": text(one.executed),
        "reduceOnly": one.reduce_only,
        "closePosition": one.close_position,
        "workingType": "CONTRACT_PRICE",
        "createTime": one.created_ms,
        "updateTime": one.updated_ms or one.created_ms,
    }


def position(account: Account, symbol: str, price: Decimal) -> Json:
    """Return a position as `/fapi/v3/positionRisk` tells of it."""
    held = account.held[symbol]
    return {
        "symbol": symbol,
        "positionSide": "BOTH",
        "positionAmt": text(held.amount),
        "entryPrice": text(held.entry),
        "breakEvenPrice": text(held.entry),
        "markPrice": text(price),
        "unRealizedProfit": text(held.amount * (price - held.entry)),
        "liquidationPrice": "0",
        "notional": text(held.amount * price),
        "marginAsset": "USDT",
        "isolatedMargin": "0",
        "isolatedWallet": "0",
        "initialMargin": text(abs(held.amount) * price / account.leverage_of(symbol)),
        "maintMargin": "0",
        "updateTime": held.updated_ms,
    }


def asset(account: Account, floating: Decimal) -> Json:
    """Return the quote asset's figures as `/fapi/v3/account` and `/balance` tell of them."""
    free = text(account.free({}))
    return {
        "asset": "USDT",
        "balance": text(account.wallet),
        "walletBalance": text(account.wallet),
        "crossWalletBalance": text(account.wallet),
        "unrealizedProfit": text(floating),
        "crossUnPnl": text(floating),
        "marginBalance": text(account.wallet + floating),
        "maintMargin": "0",
        "initialMargin": text(account.wallet - account.free({})),
        "availableBalance": free,
        "maxWithdrawAmount": free,
        "updateTime": now_ms(),
    }


def kline(candle: Candle) -> list[Any]:
    """Return a candle's row: twelve fields, numbers as texts."""
    at, *prices, volume = candle
    row = [at, *(text(price) for price in prices), text(volume), at + 59_999]
    return [*row, text(volume * prices[-1]), 1, "0", "0", "0"]


def premium(one: Listed, price: Decimal) -> Json:
    """Return mark price and funding of a symbol as `/fapi/v1/premiumIndex` tells of them."""
    now = now_ms()
    return {
        "symbol": one.symbol,
        "markPrice": text(price),
        "indexPrice": text(price),
        "estimatedSettlePrice": text(price),
        "lastFundingRate": format(one.instrument.funding_rate, ".8f"),
        "interestRate": "0.0001",
        "nextFundingTime": (now // FUNDING_MS + 1) * FUNDING_MS,
        "time": now,
    }


def funding(one: Listed, price: Decimal, count: int) -> list[Json]:
    """Return a symbol's last fundings, as often as asked, oldest first."""
    last = now_ms() // FUNDING_MS
    return [
        {
            "symbol": one.symbol,
            "fundingRate": format(one.instrument.funding_rate, ".8f"),
            "fundingTime": moment * FUNDING_MS,
            "markPrice": text(price),
        }
        for moment in range(last - count + 1, last + 1)
    ]


def income(one: Income) -> Json:
    """Return a line of the account as `/fapi/v1/income` tells of it."""
    return {
        "symbol": one.symbol,
        "incomeType": one.kind,
        "income": text(one.amount),
        "asset": "USDT",
        "info": one.kind,
        "time": one.at_ms,
        "tranId": one.id,
        "tradeId": "",
    }


def book(one: Listed, price: Decimal) -> Json:
    """Return the best bid and ask of a symbol."""
    half = Decimal(repr(one.instrument.half_spread))
    return {
        "symbol": one.symbol,
        "bidPrice": text(one.rounded(price * (1 - half))),
        "bidQty": "1000",
        "askPrice": text(one.rounded(price * (1 + half))),
        "askQty": "1000",
        "time": now_ms(),
    }


def day(one: Listed, price: Decimal) -> Json:
    """Return a symbol's figures of the last 24 hours; only the price is of interest here."""
    figures = dict.fromkeys(("openPrice", "highPrice", "lowPrice", "lastPrice"), text(price))
    zeros = ("priceChange", "priceChangePercent", "lastQty", "volume", "quoteVolume")
    now = now_ms()
    return {
        "symbol": one.symbol,
        **figures,
        **dict.fromkeys(zeros, "0"),
        "weightedAvgPrice": text(price),
        "openTime": now - _DAY_MS,
        "closeTime": now,
        "firstId": 1,
        "lastId": 1,
        "count": 1,
    }
