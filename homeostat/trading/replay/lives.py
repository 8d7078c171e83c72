"""The positions that touch a span: what the store has of each, beside how its life comes out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from homeostat.store.trading import (
    PAPER,
    Decision,
    DecisionCycle,
    ModelOutcome,
    Order,
    Position,
    Reservation,
    decision_id,
)
from homeostat.trading.flow.batch import OPENED
from homeostat.trading.replay.compare import Replayed
from homeostat.trading.replay.shadow import Shadow
from homeostat.trading.venue import HORIZON_BARS

Row = Mapping[Any, Any]
#: What was opened so long before a span may have lived into it, whatever its row says: an extended
#: winner's time barrier.
_LIFE = timedelta(minutes=2 * HORIZON_BARS)
#: How far the bars that a cycle sees may lag behind it.
_LAG = timedelta(minutes=30)
_SAME = 1e-9
STILL_OPEN = "OPEN"

_POSITIONS, _ORDERS = Position.__table__.c, Order.__table__.c
#: The step that each column of a position belongs to; the entry's are compared first.
_STEPS: dict[str, tuple[str, ...]] = {
    "entry": (
        "book",
        "symbol",
        "model",
        "cluster",
        "side",
        "first_quantity",
        "entry",
        "take_profit",
        "trail",
        "partial",
        "risk_per_unit",
        "confidence",
        "opened_at",
    ),
    "exit": ("exit_rule", "closed_at"),
    "position": (
        "quantity",
        "stop",
        "partial_taken",
        "mark",
        "peak_r",
        "adds",
        "bars",
        "label",
        "pending_label",
        "advice",
        "costs",
        "realised",
        "marked_at",
    ),
}
#: Noted by the clock as a cycle ran: so near to when its id was made.
_NEAR = timedelta(minutes=10)
_BY_THE_CLOCK = frozenset({"created_at", "updated_at", "at"})
_ORDER = (
    "decision_id",
    "book",
    "symbol",
    "side",
    "quantity",
    "trigger",
    "reduce_only",
    "state",
    "price",
    "fee",
    "slippage",
    "reason",
    "created_at",
    "updated_at",
)
_RESERVATION = ("book", "symbol", "side", "cluster", "risk", "margin", "notional", "state", "at")
_OUTCOME = ("model", "symbol", "side", "confidence", "r", "at")


class Lives:
    """The decisions whose positions touch [start, end), and what the store has of them."""

    def __init__(self, session: Session, start: datetime, end: datetime) -> None:
        self.session, self.start, self.end = session, start, end
        self.known: dict[str, Row] = {}
        ended = or_(Position.closed_at.is_(None), Position.closed_at >= self._since())
        self._read(Position.book == PAPER, Position.opened_at < end, ended)
        #: Decisions that journaled an opening of late; their rows may be gone, or tell otherwise.
        self.journaled = set(self._journaled())
        for decision in sorted(self.journaled - self.known.keys()):
            self._read(Position.decision_id == decision)

    @property
    def all(self) -> set[str]:
        """Every decision that is to be followed."""
        return self.journaled | self.known.keys()

    def first_cycle(self) -> str | None:
        """Return the id of the cycle that the oldest of them comes from, of those that are kept."""
        for one in sorted({cycle_of(one) for one in self.all}):
            if self.session.get(DecisionCycle, one) is not None:
                return one
        return None

    def _read(self, *where: Any) -> None:
        for row in self.session.execute(select(*_POSITIONS).where(*where)).mappings():
            self.known[row["decision_id"]] = row

    def _since(self) -> datetime:
        """Return from when on an end may be the doing of the span's cycles.

        After a pause its first cycle sees bars from long before it.
        """
        statement = select(func.max(DecisionCycle.due_at)).where(
            DecisionCycle.book == PAPER, DecisionCycle.due_at < self.start
        )
        last = self.session.scalar(statement)
        return _earlier(last, _LAG) if last is not None else self.start

    def _journaled(self) -> Iterator[str]:
        since = _earlier(self.start, _LIFE)
        statement = (
            select(Decision.cycle_id, Decision.symbol)
            .join(DecisionCycle, DecisionCycle.id == Decision.cycle_id)
            .where(
                Decision.rule == OPENED,
                DecisionCycle.book == PAPER,
                DecisionCycle.due_at >= since,
                DecisionCycle.due_at < self.end,
            )
        )
        for cycle, symbol in self.session.execute(statement):
            yield decision_id(cycle, symbol)

    def touches(self, row: Row) -> bool:
        """Return whether a position lived within the span."""
        closed = row["closed_at"]
        return bool(row["opened_at"] < self.end and (closed is None or closed >= self.start))

    def compared(self, shadow: Shadow, decision: str, *, learnt: bool) -> Replayed:
        """Return whether the life of what was opened comes out the same."""
        was, now = self.known.get(decision), shadow_row(shadow, decision)
        if was is None or now is None:
            return Replayed(decision, OPENED, same=False, step="position", differs="it is gone")
        rule = was["exit_rule"] or STILL_OPEN
        step, how = next(self._differences(shadow, was, now, learnt=learnt), ("", ""))
        return Replayed(decision, rule, not step, step, how)

    def _differences(
        self, shadow: Shadow, was: Row, now: Row, *, learnt: bool
    ) -> Iterator[tuple[str, str]]:
        decision = now["decision_id"]
        for step, names in _STEPS.items():
            for how in unlike(was, now, names):
                yield step, how
        yield from self._orders(shadow, decision)
        yield from self._one(shadow, Reservation, decision, _RESERVATION, "reservation")
        if learnt:
            yield from self._outcome(shadow, decision)

    def _orders(self, shadow: Shadow, decision: str) -> Iterator[tuple[str, str]]:
        statement = select(*_ORDERS).where(_ORDERS.decision_id == decision)
        was, now = (
            {row["client_id"]: row for row in session.execute(statement).mappings()}
            for session in (self.session, shadow.session)
        )
        for key in sorted(was.keys() | now.keys()):
            if key not in now:
                yield "order", f"the order {was[key]['kind']} is one that nobody sent"
            elif key not in was:
                yield "order", f"the order {now[key]['kind']} is gone"
            else:
                for how in unlike(was[key], now[key], ("kind", *_ORDER)):
                    yield "order", f"{now[key]['kind']}: {how}"

    def _one(
        self, shadow: Shadow, model: Any, decision: str, names: Sequence[str], step: str
    ) -> Iterator[tuple[str, str]]:
        was, now = (
            session.get(model, decision, populate_existing=True)
            for session in (self.session, shadow.session)
        )
        if was is None or now is None:
            if was is not now:
                yield step, f"the {step} is {'gone' if was is None else 'one that nobody made'}"
            return
        for how in unlike(vars(was), vars(now), names):
            yield step, how

    def _outcome(self, shadow: Shadow, decision: str) -> Iterator[tuple[str, str]]:
        was, now = self.session.get(ModelOutcome, decision), shadow.outcomes.get(decision)
        if was is None or now is None:
            if (was is None) != (now is None):
                yield "outcome", "it is gone" if was is None else "nothing ended that it tells of"
            return
        learnt = {**vars(now), "at": shadow.closed_at[decision]}
        for how in unlike(vars(was), learnt, _OUTCOME):
            yield "outcome", how
        if was.won != (was.r > 0):
            yield "outcome", f"won is {was.won} beside {was.r:+.3f} R"


def _earlier(moment: datetime, span: timedelta) -> datetime:
    return moment - min(span, moment - datetime.min.replace(tzinfo=moment.tzinfo))


def shadow_row(shadow: Shadow, decision: str) -> Row | None:
    """Return the position of a decision as its life came out, None where it was never opened."""
    statement = select(*_POSITIONS).where(_POSITIONS.decision_id == decision)
    return shadow.session.execute(statement).mappings().first()


def cycle_of(decision: str) -> str:
    """Return the cycle that a decision belongs to."""
    return decision.partition(".")[0]


def unlike(was: Row, now: Row, names: Sequence[str]) -> Iterator[str]:
    """Yield how each column differs that does."""
    for name in names:
        one, other = was[name], now[name]
        if isinstance(one, float) and isinstance(other, float):
            if abs(one - other) > _SAME * max(abs(one), abs(other)):
                yield f"{name} was {one:.9g}, and now {other:.9g}"
        elif name in _BY_THE_CLOCK and isinstance(one, datetime) and isinstance(other, datetime):
            if abs(one - other) > _NEAR:
                yield f"{name} was {_text(one)}, and its cycle ran at {_text(other)}"
        elif one != other:
            yield f"{name} was {_text(one)}, and now {_text(other)}"


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return f"{value:.9g}" if isinstance(value, float) else str(value) or "empty"
