"""What the venue answers instead of an order or a figure: its status, code and words.

Codes and texts are those of the Binance USDT-margined futures documentation ("Error codes").
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """One reason for which the venue refuses a request; it then changes nothing."""

    code: int
    message: str
    status: int = 400


class RefusedError(Exception):
    """The venue refuses the request."""

    def __init__(self, refusal: Refusal) -> None:
        """Refuse for this reason."""
        super().__init__(f"{refusal.code} {refusal.message}")
        self.refusal = refusal


UNKNOWN_SYMBOL = Refusal(-1121, "Invalid symbol.")
NOT_TRADING = Refusal(-4140, "Invalid symbol status for opening position.")
BAD_SIGNATURE = Refusal(-1022, "Signature for this request is not valid.")
BAD_KEY = Refusal(-2014, "API-key format invalid.", status=401)
LATE = Refusal(-1021, "Timestamp for this request is outside of the recvWindow.")
NO_SUCH_ORDER = Refusal(-2013, "Order does not exist.")
NOT_CANCELED = Refusal(-2011, "Unknown order sent.")
NOTHING_TO_REDUCE = Refusal(-2022, "ReduceOnly Order is rejected.")
WOULD_TRIGGER = Refusal(-2021, "Order would immediately trigger.")
NO_MARGIN = Refusal(-2019, "Margin is insufficient.")
DUPLICATE = Refusal(-4116, "ClientOrderId is duplicated.")
BAD_LEVERAGE = Refusal(-4028, "Leverage is not valid")
TOO_PRECISE = Refusal(-1111, "Precision is over the maximum defined for this asset.")
TOO_SMALL = Refusal(-4003, "Quantity less than or equal to zero.")
USE_ALGO = Refusal(
    -4120,
    "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
)
NO_SUCH_PATH = Refusal(-5000, "Path not found, please check the request.", status=404)


def missing(name: str) -> Refusal:
    """Return the refusal of a request without a field that it needs."""
    return Refusal(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def min_notional(least: object) -> Refusal:
    """Return the refusal of an order that is too small."""
    return Refusal(
        -4164,
        f"Order's notional must be no smaller than {least} (unless you choose reduce only).",
    )
