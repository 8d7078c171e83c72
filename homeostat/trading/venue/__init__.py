"""The venue: one port through which orders go, and what stands behind it.

`paper` fills in our own book. For the loopback server (`venue.loopback`) and the real exchange
what is wanted is written down (`venue.intent`) and carried out after the commit by one client
(`venue.exchange`).
"""

from homeostat.trading.venue.orders import Wanted
from homeostat.trading.venue.paper import (
    FUNDING_EVERY,
    HORIZON_BARS,
    SLIPPAGE,
    TAKER_FEE,
    Bar,
    Closed,
    StopNotRestingError,
    bar_of,
    result_r,
)
from homeostat.trading.venue.port import (
    advance,
    close,
    move_stop,
    reduce,
    rest,
    resting,
    send,
    takes_adds,
)

#: States in which a position begins: filled, or on its way to an outside venue.
ACCEPTED = frozenset({"FILLED", "NEW"})

__all__ = [
    "ACCEPTED",
    "FUNDING_EVERY",
    "HORIZON_BARS",
    "SLIPPAGE",
    "TAKER_FEE",
    "Bar",
    "Closed",
    "StopNotRestingError",
    "Wanted",
    "advance",
    "bar_of",
    "close",
    "move_stop",
    "reduce",
    "rest",
    "resting",
    "result_r",
    "send",
    "takes_adds",
]
