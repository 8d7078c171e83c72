"""The lines of the venue's own account: funding, commissions, transfers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from homeostat.trading.venue.outcomes import BadRowsError

#: Kinds of line that the book knows by themselves; all others come out as an equity gap.
FUNDING, TRANSFER = "FUNDING_FEE", "TRANSFER"


@dataclass(frozen=True)
class Income:
    """A line of the venue's account: what we paid (negative) or received, and for what."""

    id: str
    kind: str
    symbol: str
    amount: float
    at: float


def income_of(record: Any) -> Income:
    """Read a line; raises BadRowsError where it is none."""
    try:
        amount, at = float(record["income"]), int(record["time"]) / 1000
    except (TypeError, ValueError) as error:
        raise BadRowsError(f"A line of the account is no income ({error}).") from error
    kind, symbol = str(record["incomeType"]), str(record.get("symbol") or "")
    # A transaction's number is its own within one kind of income.
    return Income(f"{kind}:{record['tranId']}:{symbol}", kind, symbol, amount, at)
