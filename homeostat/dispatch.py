"""The port through which the domain asks for a task; `workers.dispatch` implements it.

The domain hardly ever calls it directly: it writes a job row (`homeostat.store.jobs.enqueue`)
in its transaction, and the task sends the job after the commit.
"""

from __future__ import annotations

from typing import Protocol

from pydantic import JsonValue

from homeostat.errors import HomeostatError


class Dispatcher(Protocol):
    """Sends one message that asks for a task; delivery is a hint, the job row is the truth."""

    def send(
        self,
        task: str,
        kwargs: dict[str, JsonValue],
        *,
        queue: str | None = None,
        priority: int | None = None,
        expires_s: float | None = None,
    ) -> None:
        """Send; `priority` is the business priority (10 critical … 0 idle)."""


class _Port:
    dispatcher: Dispatcher | None = None


def install(dispatcher: Dispatcher) -> None:
    """Make `dispatcher` the one that this process sends through."""
    _Port.dispatcher = dispatcher


def dispatcher() -> Dispatcher:
    """Return the installed dispatcher; raises HomeostatError where none is installed."""
    if _Port.dispatcher is None:
        raise HomeostatError("No dispatcher is installed in this process; import workers.app.")
    return _Port.dispatcher
