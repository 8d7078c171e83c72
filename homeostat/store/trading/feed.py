"""What the venue told of itself: its symbols, their minutes, and what it paid or charged us."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from homeostat.clock import utcnow
from homeostat.store.base import JSON, Base, UtcDateTime


class MarketListing(Base):
    """The symbols that a live feed follows, in the order of the columns of its minutes."""

    __tablename__ = "market_listings"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    instruments: Mapped[list[Any]] = mapped_column(JSON)


class MarketMinute(Base):
    """One closed minute of a listing: (5, n) little-endian doubles, NaN where none was told.

    The rows are open, high, low, close and volume; `minute` counts minutes since the epoch.
    """

    __tablename__ = "market_minutes"

    minute: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    listing: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    bars: Mapped[bytes] = mapped_column(LargeBinary)


class VenueIncome(Base):
    """One line of the venue's own account: funding, commission, a transfer; booked once."""

    __tablename__ = "venue_incomes"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    symbol: Mapped[str] = mapped_column(String(48), default="")
    amount: Mapped[float]
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    decision_id: Mapped[str] = mapped_column(String(96), default="")
