"""The book: orders, positions, equity and what is reserved of it.

Money is in the quote currency, prices per unit of the base. An order's natural key is its
decision and kind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Index, String, bindparam, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import new_id, utcnow
from homeostat.store.base import Base, UtcDateTime
from homeostat.store.prepared import Prepared
from homeostat.store.rows import insert_into

#: The books that are kept: trades of the workload, and those of the canary that proves the flow.
PAPER = "paper"
CANARY = "canary"
#: What a new book begins with, in the quote currency.
FIRST_EQUITY = 10_000.0


class Order(Base):
    """One order under an id of our own, so that sending it twice can fill it only once."""

    __tablename__ = "orders"
    __table_args__ = (Index("ix_orders_resting", "state", "book"),)

    client_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    decision_id: Mapped[str] = mapped_column(String(96), index=True)
    book: Mapped[str] = mapped_column(String(16))
    symbol: Mapped[str] = mapped_column(String(48))
    kind: Mapped[str] = mapped_column(String(16))
    side: Mapped[int]
    quantity: Mapped[float]
    trigger: Mapped[float | None]
    reduce_only: Mapped[bool]
    state: Mapped[str] = mapped_column(String(12))
    price: Mapped[float | None]
    fee: Mapped[float] = mapped_column(default=0.0)
    slippage: Mapped[float] = mapped_column(default=0.0)
    reason: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class Position(Base):
    """An open or closed position; `risk_per_unit` is one R: entry to first stop, in price."""

    __tablename__ = "positions"
    __table_args__ = (Index("ix_positions_open", "book", "closed_at"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    decision_id: Mapped[str] = mapped_column(String(96), unique=True)
    book: Mapped[str] = mapped_column(String(16))
    symbol: Mapped[str] = mapped_column(String(48))
    model: Mapped[str] = mapped_column(String(48))
    cluster: Mapped[int] = mapped_column(default=0)
    side: Mapped[int]
    quantity: Mapped[float]
    first_quantity: Mapped[float]
    entry: Mapped[float]
    stop: Mapped[float]
    take_profit: Mapped[float]
    trail: Mapped[float]
    partial: Mapped[float]
    partial_taken: Mapped[bool] = mapped_column(default=False)
    risk_per_unit: Mapped[float]
    confidence: Mapped[float]
    mark: Mapped[float]
    peak_r: Mapped[float] = mapped_column(default=0.0)
    adds: Mapped[int] = mapped_column(default=0)
    bars: Mapped[int] = mapped_column(default=0)
    label: Mapped[str] = mapped_column(String(8), default="SAFE")
    pending_label: Mapped[str] = mapped_column(String(8), default="SAFE")
    advice: Mapped[str] = mapped_column(String(12), default="HOLD")
    costs: Mapped[float] = mapped_column(default=0.0)
    realised: Mapped[float] = mapped_column(default=0.0)
    marked_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    exit_rule: Mapped[str] = mapped_column(String(32), default="")


class Book(Base):
    """One book's equity and what is reserved of it; its row is the lock of every reservation."""

    __tablename__ = "books"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    equity: Mapped[float]
    peak_equity: Mapped[float]
    version: Mapped[int] = mapped_column(default=0)
    #: The drawdown machine's level (NORMAL, SAFE, CRITICAL, HALT) with its hysteresis.
    drawdown_level: Mapped[str] = mapped_column(String(12), default="NORMAL")


class EquityPoint(Base):
    """A book's equity at the end of a cycle."""

    __tablename__ = "equity_points"

    book: Mapped[str] = mapped_column(String(16), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    equity: Mapped[float]
    open_positions: Mapped[int]


class Reservation(Base):
    """Risk and margin set aside for a decision, held until its position is closed."""

    __tablename__ = "reservations"
    __table_args__ = (Index("ix_reservations_book", "book", "state"),)

    decision_id: Mapped[str] = mapped_column(String(96), primary_key=True)
    book: Mapped[str] = mapped_column(String(16))
    symbol: Mapped[str] = mapped_column(String(48))
    side: Mapped[int]
    cluster: Mapped[int]
    risk: Mapped[float]
    margin: Mapped[float]
    notional: Mapped[float]
    state: Mapped[str] = mapped_column(String(12), default="HELD")
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


def client_order_id(decision: str, kind: str) -> str:
    """Return the order's own id: the same for every try (32 of the 36 characters allowed)."""
    return hashlib.sha256(f"{decision}/{kind}".encode()).hexdigest()[:32]


def order_of(session: Session, client_id: str) -> Order | None:
    """Return the order of that id, be it written yet or not; mostly there is none."""
    for one in session.new:
        if isinstance(one, Order) and one.client_id == client_id:
            return one
    if not _KNOWN.rows(session, key=client_id):
        return None
    return session.get(Order, client_id)


# Statements that every cycle sends are made once: making one costs as much as sending it.
_OPEN = (
    select(Position)
    .where(Position.book == bindparam("book"), Position.closed_at.is_(None))
    .order_by(Position.id)
)
_ORDER = Order.__table__.c
_KNOWN = Prepared(select(_ORDER.client_id).where(_ORDER.client_id == bindparam("key")))
_BOOK = select(Book).where(Book.name == bindparam("book"))
_LOCKED = _BOOK.execution_options(populate_existing=True).with_for_update()


def open_positions(session: Session, book: str) -> Sequence[Position]:
    """Return the open positions of a book, oldest first."""
    return session.scalars(_OPEN, {"book": book}).all()


def book_of(session: Session, name: str, *, lock: bool = False) -> Book:
    """Return the book's row, locked until the commit where asked; made at first use.

    Without the lock it is the row that this session knows already, if it does.
    """
    if lock:
        # Reading it anew would undo what this session has yet to write of it.
        session.flush()
    elif (known := session.get(Book, name)) is not None:
        return known
    statement = _LOCKED if lock else _BOOK
    book = session.scalar(statement, {"book": name})
    if book is not None:
        return book
    insert = insert_into(session, Book).values(
        name=name, equity=FIRST_EQUITY, peak_equity=FIRST_EQUITY, version=0, drawdown_level="NORMAL"
    )
    # Two processes may find no row; only one of them makes it.
    session.execute(insert.on_conflict_do_nothing(index_elements=["name"]))
    return session.scalars(statement, {"book": name}).one()
