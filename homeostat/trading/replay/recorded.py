"""The subsystems as a cycle met them: what they said stands in the journal and is said again.

Whoever only reckons (universe, barriers, the balancer's rules) is asked anew; whoever remembered
something that is forgotten since (the supervisor's block, the book) is quoted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from homeostat.store.trading import Book
from homeostat.trading.flow.opening import HELD
from homeostat.trading.flow.parties import Parties
from homeostat.trading.portfolio_balancer import Candidate, Held, Limits, Moves, Verdict
from homeostat.trading.portfolio_balancer.admission import admitted
from homeostat.trading.portfolio_balancer.limits import shut

T = TypeVar("T")
SUPERVISOR, BALANCER = "trading.model_supervisor", "trading.portfolio_balancer"


class SilentError(LookupError):
    """The journal does not tell what a subsystem said."""


@dataclass(frozen=True)
class Supervisor:
    """The model supervisor with the verdict that the journal tells; nothing is counted."""

    blocked_side: int

    def count(self, *_asked: object) -> int:
        """Return the side that the model must not take."""
        return self.blocked_side


@dataclass(frozen=True)
class Balancer:
    """The portfolio balancer over a book as the journal tells it; nothing is reserved."""

    held: Sequence[Candidate]

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


def balancer_of(told: Mapping[str, Any]) -> Balancer:
    """Return the balancer over the reservations that a cycle's inputs list."""
    return Balancer([Candidate(**dict(zip(HELD, row, strict=True))) for row in told["held"]])


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
            # A gate before it stopped the whole batch: then nobody asked, and nothing was said.
            return question(Supervisor(self.told.get("blocked_side") or 0))
        if name == BALANCER and "book" in self.told:
            return question(balancer_of(self.told["book"]))
        raise SilentError(name)

    def consult(self, name: str, question: Callable[[Any], T]) -> T | None:
        """Return the answer of a subsystem that only reckons."""
        return None if name in self.silent else question(self.find(name))
