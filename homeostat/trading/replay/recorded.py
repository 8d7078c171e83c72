"""The subsystems as a cycle met them: what they said stands in the journal and is said again.

Whoever reckons (universe, barriers, the balancer's and the supervisor's rules) is asked anew, over
what the journal tells that it was shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from homeostat.store.trading import Book
from homeostat.trading.flow.opening import HELD
from homeostat.trading.flow.parties import Parties
from homeostat.trading.market.panel import Panel
from homeostat.trading.model_supervisor import Tally
from homeostat.trading.model_supervisor.rules import blocked_side
from homeostat.trading.portfolio_balancer import (
    Candidate,
    Held,
    Limits,
    Merit,
    Moves,
    Verdict,
)
from homeostat.trading.portfolio_balancer.admission import admitted
from homeostat.trading.portfolio_balancer.limits import shut

T = TypeVar("T")
SUPERVISOR, BALANCER = "trading.model_supervisor", "trading.portfolio_balancer"


class SilentError(LookupError):
    """The journal does not tell what a subsystem said."""


@dataclass(frozen=True)
class Supervisor:
    """The model supervisor over the counts that the journal tells; nothing is counted."""

    told: Mapping[str, Any]

    def count(
        self, _session: Session, model: str, longs: int, shorts: int, _abstained: object
    ) -> Tally:
        """Return the side that follows from what was judged; `counted` is this batch alone."""
        known, batch = self.told.get("supervisor"), (float(longs), float(shorts))
        if known is None:
            # An older journal tells the verdict and not what it was reached on. Where a gate before
            # it stopped the whole batch nobody asked, and nothing was said.
            return Tally(
                self.told.get("blocked_side") or 0, model, False, None, batch
            )  # a field in its order
        judged, enforced = known["judged"], bool(known["enforced"])
        side = blocked_side(*judged) if judged and enforced else 0
        return Tally(side, model, enforced, judged and (judged[0], judged[1]), batch)


@dataclass(frozen=True)
class Balancer:
    """The portfolio balancer over a book as the journal tells it; nothing is reserved."""

    held: Sequence[Candidate]
    told: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def merits(
        self, _session: Session, panel: Panel, rows: NDArray[np.intp], *_asked: object
    ) -> list[Merit]:
        """Return what spoke for each rival then; an older journal tells of nothing."""
        return [Merit(*self.told.get(panel.symbols[row], ())) for row in rows.tolist()]

    def shut(self, _session: Session, _book: str, equity: float, limits: Limits) -> Any:
        """Return what the balancer would: its code for everybody, and what is held."""
        held = Held(equity, self.held)
        return shut(held, limits), held

    def reserve(
        self,
        _session: Session,
        book: Book,
        wishes: Sequence[Candidate],
        limits: Limits,
        moves: Moves,
    ) -> list[Verdict]:
        """Return the verdicts that the balancer's rules come to."""
        return admitted(wishes, Held(book.equity, self.held, moves), limits)[0]


def held_of(told: Mapping[str, Any]) -> list[Candidate]:
    """Return the reservations that a part of a cycle's inputs lists."""
    return [Candidate(**dict(zip(HELD, row, strict=True))) for row in told["held"]]


def balancer_of(told: Mapping[str, Any]) -> Balancer:
    """Return the balancer over the reservations that a cycle's inputs list."""
    return Balancer(held_of(told), told.get("merits", {}))


@dataclass
class Recorded(Parties):
    """The parties of a cycle that is derived anew; who was away then is away again."""

    told: Mapping[str, Any] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()

    def ask(self, name: str, question: Callable[[Any], T]) -> T | None:
        """Return the answer of a subsystem that the journal quotes; raises SilentError."""
        if name in self.silent:
            return None
        if name == SUPERVISOR:
            return question(Supervisor(self.told))
        if name == BALANCER and "book" in self.told:
            return question(balancer_of(self.told["book"]))
        raise SilentError(name)

    def consult(self, name: str, question: Callable[[Any], T]) -> T | None:
        """Return the answer of a subsystem that only reckons."""
        return None if name in self.silent else question(self.find(name))
