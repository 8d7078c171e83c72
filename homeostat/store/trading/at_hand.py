"""Open positions at hand: plain copies that a bar happens to, written back in a few statements.

Every attribute of a mapped object that is read or set passes through the unit of work, which
costs a cycle more than all that happens to its positions.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import Session

from homeostat.store.prepared import Prepared
from homeostat.store.rows import read_anew
from homeostat.store.trading.book import Order, Position

_TABLE: Any = Position.__table__
_COLUMNS = tuple(column.name for column in _TABLE.c)
_FILLS: Any = Order.__table__.c
#: What a position's fills lost against the prices that were expected, in money.
_SLIPPED = func.coalesce(
    select(func.sum(_FILLS.slippage))
    .where(_FILLS.decision_id == _TABLE.c.decision_id)
    .scalar_subquery(),
    0.0,
)
_OPEN = Prepared(
    select(*_TABLE.c, _SLIPPED)
    .where(_TABLE.c.book == bindparam("in_book"), _TABLE.c.closed_at.is_(None))
    .order_by(_TABLE.c.id)
)
#: What a bar may change of a position that stays open; the rest changes with an order.
MARKED = (
    "marked_at",
    "mark",
    "stop",
    "peak_r",
    "bars",
    "label",
    "pending_label",
    "advice",
    "costs",
)
_MARKED_SET = frozenset(MARKED)


class _AtHand(SimpleNamespace):
    """A position's columns as attributes, and what they were when it was taken."""

    def __init__(self, columns: dict[str, Any]) -> None:
        super().__init__(**columns)
        self.taken = columns

    def changed(self) -> list[str]:
        """Return the names of the columns that are not as they were."""
        present = vars(self)
        return [name for name, value in self.taken.items() if present[name] != value]


def take_open(session: Session, book: str) -> list[tuple[Position, float]]:
    """Return copies of the open positions of a book for `put_back`, oldest first.

    Beside each stands what its fills lost against the prices that were expected, in money.
    """
    session.flush()
    rows = _OPEN.rows(session, in_book=book)
    return [
        (cast("Position", _AtHand(dict(zip(_COLUMNS, row, strict=True)))), float(slipped))
        for *row, slipped in rows
    ]


def put_back(session: Session, positions: Iterable[Position]) -> None:
    """Write what was changed of positions that `take_open` gave; the bars' marks in one go.

    What somebody else wrote meanwhile of the other columns stands, and a mapped object of the same
    row is read anew when it is next looked at.
    """
    mapped = any(isinstance(one, Position) for one in session.identity_map.values())
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for one in cast("Iterable[_AtHand]", positions):
        changed = one.changed()
        if changed:
            names = MARKED if _MARKED_SET.issuperset(changed) else tuple(changed)
            present = vars(one)
            row = {"key": one.id} | {name: present[name] for name in names}
            groups.setdefault(names, []).append(row)
            if mapped:
                read_anew(session, Position, one.id)
    for names, rows in groups.items():
        _change_of(names).send(session, rows)


@lru_cache(maxsize=64)
def _change_of(names: tuple[str, ...]) -> Prepared:
    """Return the statement that changes these columns of one position."""
    change = update(_TABLE).where(_TABLE.c.id == bindparam("key"))
    return Prepared(change.values({name: bindparam(name) for name in names}))
