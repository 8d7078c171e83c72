"""The words that are spoken with the venue: an order to place, what became of it, a position.

Symbols are the venue's own names (`BTCUSDT`), quantities in units of the base.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from homeostat.trading.venue.outcomes import UnknownOutcomeError


class Kind(StrEnum):
    """The kinds of order that are sent."""

    MARKET = "MARKET"
    STOP = "STOP"
    TAKE_PROFIT = "TAKE_PROFIT"


@dataclass(frozen=True)
class Ticket:
    """One order to place; its id is ours, and the same at every try."""

    client_id: str
    symbol: str
    side: int
    quantity: float
    kind: Kind = Kind.MARKET
    trigger: float = 0.0
    reduce_only: bool = False

    @property
    def conditional(self) -> bool:
        """Whether it waits for its trigger."""
        return self.kind is not Kind.MARKET


@dataclass(frozen=True)
class Report:
    """What the venue says of an order: FILLED, RESTING, CANCELED or REJECTED, and how much."""

    client_id: str
    state: str
    quantity: float = 0.0
    price: float = 0.0


@dataclass(frozen=True)
class Holding:
    """A position at the venue; a negative quantity is short."""

    symbol: str
    quantity: float
    entry: float


_STATES = {
    "open": "RESTING",
    "closed": "FILLED",
    "canceled": "CANCELED",
    "expired": "CANCELED",
    "rejected": "REJECTED",
}


def naming(ticket: Ticket) -> dict[str, Any]:
    """Return the fields by which an order is named at the venue."""
    if ticket.conditional:
        return {"clientAlgoId": ticket.client_id, "stop": True}
    return {"origClientOrderId": ticket.client_id}


def report_of(found: Any, client_id: str) -> Report:
    """Read ccxt's order; raises UnknownOutcomeError where it is not clearly ours."""
    try:
        state = _STATES[found["status"]]
        if found["clientOrderId"] != client_id:
            raise UnknownOutcomeError("The answer speaks of another order.")
        raw = found["info"]
        # A conditional order that was triggered does not tell what it filled, only what it asked.
        quantity = float(raw.get("executedQty") or raw.get("quantity") or 0.0)
        price = float(raw.get("avgPrice") or raw.get("actualPrice") or 0.0)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UnknownOutcomeError(f"The answer is no order ({error!r}).") from error
    if state == "FILLED" and not (quantity > 0 and price > 0):
        raise UnknownOutcomeError("The answer says filled, and not at what price.")
    return Report(client_id, state, quantity, price)


def resting_of(record: Any) -> Ticket:
    """Return the conditional order that a record of the venue's list describes."""
    stop = record["orderType"] == "STOP_MARKET"
    return Ticket(
        client_id=str(record["clientAlgoId"]),
        symbol=str(record["symbol"]),
        side=1 if record["side"] == "BUY" else -1,
        quantity=float(record["quantity"]),
        kind=Kind.STOP if stop else Kind.TAKE_PROFIT,
        trigger=float(record["triggerPrice"]),
        reduce_only=bool(record.get("reduceOnly")),
    )
