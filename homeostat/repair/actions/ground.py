"""What an action stands on, and what each kind of act promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeGuard

from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat.component import Component, Evidence
from homeostat.errors import HomeostatError
from homeostat.repair.playbooks import Step
from homeostat.settings import Settings
from homeostat.supervision.processes import PoolControl, ProcessControl


class ActionFailedError(HomeostatError):
    """The action could not be carried out."""


@dataclass(frozen=True)
class Ground:
    """What an action stands on: whom it is for, and the ways to reach the system.

    `since` is when the failure was first seen. `transaction` opens a session that commits;
    `refresh` makes this process forget its settings and its component instances.
    """

    settings: Callable[[], Settings]
    component: str
    step: Step
    actor: str
    since: datetime
    find: Callable[[str], Component]
    refresh: Callable[[], None]
    transaction: Callable[[], AbstractContextManager[Session]]
    drop_connections: Callable[[], None]
    processes: ProcessControl
    pools: Callable[[], PoolControl]

    @property
    def target(self) -> str:
        """What the step is aimed at: its own target, or else the failing component."""
        return self.step.target or self.component


class Action(Protocol):
    """One kind of act with its post-condition."""

    def snapshot(self, ground: Ground) -> dict[str, JsonValue]:
        """Return what has to be known of the state before, to tell afterwards what changed."""

    def act(self, ground: Ground) -> bool:
        """Act; False where the world is as wanted already. Raises HomeostatError."""

    def observe(self, ground: Ground, before: Mapping[str, JsonValue]) -> Evidence:
        """Look whether the effect is there."""

    def undo(self, ground: Ground, before: Mapping[str, JsonValue]) -> None:
        """Take the act back, whose effect was not seen; raises CannotUndoError."""


def probed_since(ground: Ground, before: Mapping[str, JsonValue]) -> Evidence:
    """Probe the target; evidence from before `before["at"]` proves nothing."""
    with ground.transaction() as session:
        seen = ground.find(ground.target).probe(session)
    fresh = seen.at >= datetime.fromisoformat(str(before["at"]))
    return Evidence(
        claim=f"the probe of {ground.target} passes after the {ground.step.action}",
        passed=seen.passed and fresh,
        observed={"probe": seen.observed, "passed": seen.passed, "fresh": fresh},
    )


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a parameter is a number; a flag is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
