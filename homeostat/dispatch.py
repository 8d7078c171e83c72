"""The port through which the domain asks for a task; `workers.dispatch` implements it.

The domain hardly ever calls it directly: it writes a job row (`homeostat.store.jobs.enqueue`)
in its transaction, and the task sends the job after the commit. Which queues there are stands
here too, because rules, remedies and the inventory name them as the workers do.
"""

from __future__ import annotations

from typing import Protocol

from pydantic import JsonValue

from homeostat.errors import HomeostatError

CHECKS = "checks"
TRADE = "trade"
INCIDENTS = "incidents"
FIX_ANALYSIS = "fix_analysis"
CHAOS = "chaos"
UPKEEP = "upkeep"
MODELS = "models"
#: Every queue of the system.
QUEUES = (CHECKS, TRADE, INCIDENTS, CHAOS, UPKEEP, FIX_ANALYSIS, MODELS)
#: The first part of a task's name decides its queue: that of its own name, or one of these.
_SHARED = {"stress": CHAOS, "boot": UPKEEP}
#: kombu's Redis transport keeps a list for each of so many priorities, the most urgent first, and
#: names all but the first with this separator.
REDIS_STEPS = tuple(range(10))
REDIS_SEPARATOR = "\x06\x16"


def queue_of(task: str) -> str:
    """Return the queue that a task of that name goes to."""
    first = task.split(".", 1)[0]
    return first if first in QUEUES else _SHARED.get(first, UPKEEP)


def redis_lists(queue: str) -> list[str]:
    """Return the lists in which kombu's Redis transport keeps a queue, most urgent first."""
    return [f"{queue}{REDIS_SEPARATOR}{step}" if step else queue for step in REDIS_STEPS]


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
