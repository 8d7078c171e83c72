"""One entry of the timetable: which task is due how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue


@dataclass(frozen=True)
class Entry:
    """A periodic task. `name` is the key in ledgers; `interval_s` is in seconds.

    `catch_up` says what becomes of ticks that could not be sent in time: with True the newest
    one is sent late, with False it is given up and stands in the ledger as missed.
    """

    name: str
    task: str
    interval_s: float
    kwargs: Mapping[str, JsonValue] = field(default_factory=dict)
    catch_up: bool = True


def check(component: str, *, every_s: float) -> Entry:
    """Return the entry of a component's check: `check("kernels.message_bus", every_s=10)`."""
    return Entry(name=component, task=f"checks.{component}", interval_s=every_s)


def upkeep(task: str, *, every_s: float) -> Entry:
    """Return the entry of a task that keeps the house itself in order."""
    return Entry(name=task, task=task, interval_s=every_s)
