"""The subsystems as the flow meets them: asked one at a time, and allowed to be away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from homeostat import registry

T = TypeVar("T")
FLOW = "trading.flow"


class PartyFailedError(Exception):
    """A subsystem failed in the middle of a question; what it wrote has to be undone."""


@dataclass
class Parties:
    """Whom the flow asks, and who did not answer: full name → why.

    With `careful` each question has a savepoint of its own. Without, a subsystem that fails raises
    PartyFailedError; the whole transaction is then rolled back and run again with care, so that
    a cycle without failures, which is nearly every one, pays for no savepoint.
    """

    session: Session
    find: Callable[[str], Any] = registry.find
    careful: bool = True
    away: dict[str, str] = field(default_factory=dict)

    def ask(self, name: str, question: Callable[[Any], T]) -> T | None:
        """Return the answer of the component `name`, or None where it failed in any way.

        What a failing subsystem wrote is undone, and the flow goes on. Raises PartyFailedError
        where that takes a repetition, and DBAPIError where it is the store that is gone.
        """
        if self.careful:
            return self._guarded(name, question)
        if (component := self._found(name)) is None:
            return None
        try:
            return question(component)
        except Exception as error:
            _raise_lost_store(error)
            raise PartyFailedError(name) from error

    def consult(self, name: str, question: Callable[[Any], T]) -> T | None:
        """Like `ask`, for a question that does not touch the store: nothing has to be undone."""
        try:
            return question(self.find(name))
        except Exception as error:  # noqa: BLE001  # a broken subsystem must not stop the exits
            self._note(name, error)
            return None

    def _guarded(self, name: str, question: Callable[[Any], T]) -> T | None:
        try:
            with self.session.begin_nested():
                return question(self.find(name))
        except Exception as error:  # noqa: BLE001  # as above
            _raise_lost_store(error)
            self._note(name, error)
            return None

    def _found(self, name: str) -> Any:
        try:
            return self.find(name)
        except Exception as error:  # noqa: BLE001  # as above
            self._note(name, error)
            return None

    def _note(self, name: str, error: Exception) -> None:
        self.away[name] = f"{type(error).__name__}: {error}"[:200]


def _raise_lost_store(error: Exception) -> None:
    """Raise a lost connection on: it is nobody's own failure, and nothing can be undone on it."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        raise error
