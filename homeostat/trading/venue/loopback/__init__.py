"""A venue on this machine that speaks the Binance USDT-margined futures REST subset.

It keeps a real account (orders, fills, positions, stops that rest) and goes wrong on demand, so
that the real client is exercised against everything that the real venue does to it.
"""

from homeostat.trading.venue.loopback.account import Fill, Placed
from homeostat.trading.venue.loopback.exchange import KEY, SECRET, LoopbackExchange
from homeostat.trading.venue.loopback.faults import Fault, FaultKind
from homeostat.trading.venue.loopback.limits import WeightLimit
from homeostat.trading.venue.loopback.prices import MarketPrices, SetPrices
from homeostat.trading.venue.loopback.server import LoopbackServer, serving

__all__ = [
    "KEY",
    "SECRET",
    "Fault",
    "FaultKind",
    "Fill",
    "LoopbackExchange",
    "LoopbackServer",
    "MarketPrices",
    "Placed",
    "SetPrices",
    "WeightLimit",
    "serving",
]
