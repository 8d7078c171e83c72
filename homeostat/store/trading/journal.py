"""The journal: each cycle of the flow, what it decided on each symbol, and the canary's hooks.

A decision's natural key is its cycle and symbol.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint, insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import new_id, utcnow
from homeostat.store.base import JSON, Base, UtcDateTime


class DecisionCycle(Base):
    """One pass of the flow over all symbols, with every input that its decisions rest on."""

    __tablename__ = "decision_cycles"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    book: Mapped[str] = mapped_column(String(16))
    inputs: Mapped[dict[str, Any]] = mapped_column(JSON)
    counts: Mapped[dict[str, Any]] = mapped_column(JSON)

    __table_args__ = (UniqueConstraint("book", "due_at", name="uq_decision_cycles_book_due_at"),)


class Decision(Base):
    """What was decided on one symbol in one cycle, and the rule that decided it.

    `side` is 1 long, -1 short, 0 none. Rows are narrow on purpose: there are 222 a minute.
    """

    __tablename__ = "decisions"

    cycle_id: Mapped[str] = mapped_column(ForeignKey("decision_cycles.id"), primary_key=True)
    symbol: Mapped[str] = mapped_column(String(48), primary_key=True)
    rule: Mapped[str] = mapped_column(String(40))
    approved: Mapped[bool]
    side: Mapped[int]
    confidence: Mapped[float]
    price: Mapped[float]
    volatility: Mapped[float]
    take_profit: Mapped[float]
    stop_loss: Mapped[float]
    trail: Mapped[float]
    partial: Mapped[float]
    size: Mapped[float]


class HookFiring(Base):
    """Whether a hook of the trade flow really did its step for a canary, and what it left."""

    __tablename__ = "hook_firings"
    __table_args__ = (UniqueConstraint("run_id", "hook", name="uq_hook_firings_run_id_hook"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    run_id: Mapped[str] = mapped_column(String(36), index=True)
    hook: Mapped[str] = mapped_column(String(48))
    fired: Mapped[bool]
    artefact: Mapped[str] = mapped_column(default="")
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, index=True)


def decision_id(cycle_id: str, symbol: str) -> str:
    """Return the text by which people and orders name a decision."""
    return f"{cycle_id}.{symbol}"


_COLUMNS = tuple(column.name for column in Decision.__table__.columns)
_ROWS = insert(Decision.__table__)  # type: ignore[arg-type]  # a model's table is a Table at run time
#: Rows of one statement on SQLite, which takes 32,766 parameters at most.
_AT_ONCE = 256


def write_decisions(session: Session, cycle_id: str, columns: dict[str, list[Any]]) -> None:
    """Write one cycle's decisions, given column by column.

    On SQLite many rows go to the driver as one statement: a statement for each row costs twice
    as much, and working out each row's parameters by name as much again. A bool, which the driver
    has to ask around about, goes as the number that it is stored as.
    """
    count = len(columns["symbol"])
    connection = session.connection()
    sqlite = connection.dialect.name == "sqlite"
    if sqlite:
        columns = {**columns, "approved": [int(one) for one in columns["approved"]]}
    ordered = [[cycle_id] * count, *(columns[name] for name in _COLUMNS[1:])]
    if sqlite:
        width = len(_COLUMNS)
        values: list[Any] = [None] * (count * width)
        for place, column in enumerate(ordered):
            values[place::width] = column
        for first in range(0, count, _AT_ONCE):
            part = values[first * width : (first + _AT_ONCE) * width]
            connection.exec_driver_sql(_insert_of(len(part) // width), tuple(part))
        return
    rows = [dict(zip(_COLUMNS, row, strict=True)) for row in zip(*ordered, strict=True)]
    connection.execute(_ROWS, rows)


@lru_cache(maxsize=8)
def _insert_of(count: int) -> str:
    """Return the statement that inserts so many decisions."""
    row = f"({','.join('?' * len(_COLUMNS))})"
    return f"INSERT INTO decisions ({','.join(_COLUMNS)}) VALUES {','.join([row] * count)}"  # noqa: S608  # the names are the model's own
