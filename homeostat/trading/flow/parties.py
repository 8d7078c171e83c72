"""The subsystems as the flow meets them: asked one at a time, and allowed to be away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from homeostat import registry

T = TypeVar("T")
FLOW = "trading.flow"


@dataclass
class Parties:
    """Whom the flow asks, and who did not answer: full name → why."""

    session: Session
    find: Callable[[str], Any] = registry.find
    away: dict[str, str] = field(default_factory=dict)

    def ask(self, name: str, question: Callable[[Any], T]) -> T | None:
        """Return the answer of the component `name`, or None where it failed in any way.

        Its work is a savepoint: what a failing subsystem wrote is undone, the flow goes on.
        """
        try:
            with self.session.begin_nested():
                return question(self.find(name))
        except Exception as error:  # noqa: BLE001  # a broken subsystem must not stop the exits
            self.away[name] = f"{type(error).__name__}: {error}"[:200]
            return None

    def consult(self, name: str, question: Callable[[Any], T]) -> T | None:
        """Like `ask`, for a question that writes nothing through the session: no savepoint."""
        try:
            return question(self.find(name))
        except Exception as error:  # noqa: BLE001  # as above
            self.away[name] = f"{type(error).__name__}: {error}"[:200]
            return None
