"""The venue: one port through which orders go, and what stands behind it.

`paper` fills in our own book. The loopback server (`venue.loopback`) and the real exchange are
reached by the same client over HTTP (`venue.exchange`).
"""

from homeostat.trading.venue.paper import (
    FUNDING_EVERY,
    HORIZON_BARS,
    SLIPPAGE,
    TAKER_FEE,
    Bar,
    Closed,
    StopNotRestingError,
    advance,
    bar_of,
    close,
    move_stop,
    reduce,
    rest,
    resting,
    result_r,
    send,
)

__all__ = [
    "FUNDING_EVERY",
    "HORIZON_BARS",
    "SLIPPAGE",
    "TAKER_FEE",
    "Bar",
    "Closed",
    "StopNotRestingError",
    "advance",
    "bar_of",
    "close",
    "move_stop",
    "reduce",
    "rest",
    "resting",
    "result_r",
    "send",
]
