"""The book's equity and reservations from cycle to cycle, beside those of the shadow's trades."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.store.trading import PAPER, Book, DecisionCycle, EquityPoint, Position
from homeostat.store.trading_retention import JOURNAL_AGE
from homeostat.trading.flow.opening import HELD

#: Sums of money that differ by less than this share of equity are the same.
_SAME = 1e-9


@dataclass
class Ledger:
    """What the trades of a span came to.

    They tell how equity changes, and not where it began: the points of the span are held against
    their usual distance from what the trades come to.
    """

    #: Cycle, moment, what the trades come to with open results, how many are open, and the cash.
    worth: list[tuple[str, datetime, float, int, float]] = field(default_factory=list)
    #: Cycle, the equity that it told of, and the cash that the trades came to by then.
    told: list[tuple[str, float, float]] = field(default_factory=list)

    def differences(self, session: Session) -> Iterator[tuple[str, str, str]]:
        """Yield (cycle, step, what) for each amount that the trades do not come to."""
        points = self._points(session)
        known = (one for one in self.worth if one[1] in points)
        rows = [(cycle, points[at], worth, count) for cycle, at, worth, count, _ in known]
        gaps = [point.equity - worth for _, point, worth, _ in rows]
        gaps += [equity - cash for _, equity, cash in self.told]
        if not gaps:
            return
        usual = median(gaps)
        for cycle, point, worth, count in rows:
            if not _alike(point.equity, worth + usual):
                yield cycle, "equity", _was("the equity", point.equity, worth + usual)
            if point.open_positions != count:
                yield cycle, "equity", _was("the open positions", point.open_positions, count)
        for cycle, equity, cash in self.told:
            if not _alike(equity, cash + usual):
                yield cycle, "book", _was("the equity told", equity, cash + usual)
        book, newest = session.get(Book, PAPER, populate_existing=True), _newest(session)
        if book is not None and self.worth and self.worth[-1][0] == newest:
            cash = self.worth[-1][4] + usual
            if not _alike(book.equity, cash):
                yield newest, "book", _was("the book's equity", book.equity, cash)

    def _points(self, session: Session) -> dict[datetime, EquityPoint]:
        if not self.worth:
            return {}
        moments = [one[1] for one in self.worth]
        statement = select(EquityPoint).where(
            EquityPoint.book == PAPER,
            EquityPoint.at >= min(moments),
            EquityPoint.at <= max(moments),
        )
        return {one.at: one for one in session.scalars(statement)}


def _newest(session: Session) -> str:
    statement = select(func.max(DecisionCycle.id)).where(DecisionCycle.book == PAPER)
    return session.scalar(statement) or ""


def unlike_held(told: Mapping[str, Any], held: Mapping[str, Any]) -> Iterator[str]:
    """Yield what of the reservations that a cycle tells of is not what its positions hold."""
    listed = {row[0]: dict(zip(HELD, row, strict=True)) for row in told["held"]}
    for decision in sorted(listed.keys() ^ held.keys()):
        holds = "is told of, and nothing is held" if decision in listed else "is not told of"
        yield f"the reservation of {decision} {holds}"
    for decision in sorted(listed.keys() & held.keys()):
        for name in HELD:
            was, now = listed[decision][name], getattr(held[decision], name)
            same = _alike(was, now) if isinstance(was, float) else was == now
            if not same:
                yield f"the reservation of {decision}: {_was(name, was, now)}"


class Kept(NamedTuple):
    """The oldest cycle that opened nothing: from it on the journal is whole."""

    id: str
    due_at: datetime


def missing_cycles(
    session: Session, kept: Kept | None, start: datetime, end: datetime
) -> list[tuple[datetime, bool]]:
    """Return when a cycle left its point of equity and is gone itself, and whether it is that old.

    The oldest cycles are forgotten together, but for those that opened something; what is missing
    after one that opened nothing was taken out otherwise.
    """
    point = select(EquityPoint.at).where(EquityPoint.book == PAPER)
    within = point.where(EquityPoint.at >= start, EquityPoint.at < end)
    cycle = select(DecisionCycle.due_at).where(DecisionCycle.book == PAPER)
    known = cycle.where(DecisionCycle.due_at >= start, DecisionCycle.due_at < end)
    missing = sorted(set(session.scalars(within)) - set(session.scalars(known)))
    young = utcnow() - JOURNAL_AGE
    return [(at, at < young and (kept is None or at < kept.due_at)) for at in missing]


def unmarked_cycles(
    session: Session, cycles: Sequence[tuple[str, datetime]]
) -> list[tuple[str, datetime]]:
    """Return those of these cycles (id, moment due) that have left no point of equity."""
    if not cycles:
        return []
    kept = select(EquityPoint.at).where(EquityPoint.book == PAPER)
    oldest = session.scalar(kept.order_by(EquityPoint.at).limit(1))
    moments = [due_at for _, due_at in cycles]
    known = set(session.scalars(kept.where(EquityPoint.at.between(min(moments), max(moments)))))
    # Points are forgotten too, the oldest first.
    return [one for one in cycles if one[1] not in known and oldest and one[1] > oldest]


def kept_since(session: Session) -> Kept | None:
    """Return the oldest cycle that opened nothing, from which on the journal is whole."""
    opened = select(Position.decision_id).where(Position.book == PAPER)
    with_one = {one.partition(".")[0] for one in session.scalars(opened)}
    statement = select(DecisionCycle.id, DecisionCycle.due_at).where(DecisionCycle.book == PAPER)
    for key, due_at in session.execute(statement.order_by(DecisionCycle.due_at)):
        if key not in with_one:
            return Kept(key, due_at)
    return None


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= _SAME * max(abs(one), abs(other), 1.0)


def _was(name: str, was: object, now: object) -> str:
    shown = [f"{one:.9g}" if isinstance(one, float) else str(one) for one in (was, now)]
    return f"{name} was {shown[0]}, and comes to {shown[1]}"
