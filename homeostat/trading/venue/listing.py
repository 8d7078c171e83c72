"""The venue's symbols as instruments: what it lists, how old, how dear, and how busy they are."""

from __future__ import annotations

import time
from typing import Any

from homeostat.trading.market.panel import Instrument
from homeostat.trading.venue import rows

_DAY_S = 86_400
QUOTE = "USDT"


def instruments(client: Any, most: int) -> list[Instrument]:
    """Return the perpetuals against USDT that are trading, the busiest ones first."""
    days = rows.records(client.fapiPublicGetTicker24hr(), "symbol", "quoteVolume")
    books = rows.records(client.fapiPublicGetTickerBookTicker(), "symbol", "bidPrice", "askPrice")
    rates = rows.records(client.fapiPublicGetPremiumIndex(), "symbol", "lastFundingRate")
    volume = {one["symbol"]: float(one["quoteVolume"]) for one in days}
    spread = {one["symbol"]: _half_spread(one) for one in books}
    rate = {one["symbol"]: float(one["lastFundingRate"] or 0.0) for one in rates}
    found = [
        _instrument(market, spread.get(market["id"], 0.0), rate.get(market["id"], 0.0))
        for market in client.markets.values()
        if market["swap"] and market["linear"] and market["quote"] == QUOTE and market["active"]
    ]
    found.sort(key=lambda one: (-volume.get(one.symbol, 0.0), one.symbol))
    return found[:most]


def _half_spread(book: Any) -> float:
    bid, ask = float(book["bidPrice"]), float(book["askPrice"])
    return (ask - bid) / (ask + bid) if ask >= bid > 0 else 0.0


def _instrument(market: Any, half_spread: float, rate: float) -> Instrument:
    raw = market["info"]
    begun = float(raw.get("onboardDate") or 0) / 1000
    least = market["limits"]["cost"]["min"]
    return Instrument(
        symbol=market["id"],
        base=market["base"],
        quote=market["quote"],
        contract=str(raw.get("contractType") or "PERPETUAL"),
        status=str(raw.get("status") or "TRADING"),
        age_days=max(0.0, (time.time() - begun) / _DAY_S),
        half_spread=half_spread,
        min_notional=float(least) if least is not None else 0.0,
        funding_rate=rate,
    )
