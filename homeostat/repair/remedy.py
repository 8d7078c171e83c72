"""A remedy: why it is wanted, what came of it, and how one step of it is carried out.

Nothing here opens a transaction of its own but the actions, so a process may be restarted
without holding the database's write lock.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar

from pydantic import JsonValue
from sqlalchemy.exc import SQLAlchemyError

from homeostat.component import Evidence, Stopwatch
from homeostat.errors import HomeostatError
from homeostat.repair.actions import ACTIONS, Action, Ground
from homeostat.repair.playbooks import Playbook, Step
from homeostat.store.incidents import Incident

#: Seconds between two looks at whether the effect is there.
_LOOK_EVERY_S = 0.1
#: The supervisor may have restarted what died before the failure was even seen.
_SEEN_LATE = timedelta(seconds=10)


@dataclass(frozen=True)
class Cause:
    """Why a remedy is wanted: an incident (`id`), or somebody's request.

    `since` is when the failure was first seen; `target` is what to act on, where that is not
    the failing component itself.
    """

    id: str
    component: str
    error_type: str
    since: datetime
    target: str = ""


#: The component of an incident that is about a model: this and the model's name.
MODELS = "models."


def cause_of(incident: Incident) -> Cause:
    """Return the incident's present opening as the cause of a remedy."""
    of_a_model = incident.component.startswith(MODELS)
    return Cause(
        id=f"{incident.id}:{incident.openings}",
        component=incident.component,
        error_type=incident.type,
        since=incident.last_seen_at - _SEEN_LATE,
        target=incident.component.removeprefix(MODELS) if of_a_model else "",
    )


@dataclass(frozen=True)
class Plan:
    """A remedy that may be carried out: its playbook, and the row that counts it."""

    run_id: str
    cause: Cause
    playbook: Playbook


@dataclass(frozen=True)
class RemedyOutcome:
    """What came of a remedy.

    `acted` is whether anything was done, `verified` whether every post-condition was observed.
    Where it was not, `escalate_reason` says in a sentence why a person is wanted.
    """

    acted: bool
    verified: bool
    playbook: str = ""
    escalate_reason: str = ""
    evidence: list[dict[str, JsonValue]] = field(default_factory=list)


def nothing_done(reason: str, playbook: str = "") -> RemedyOutcome:
    """Return the outcome of a remedy that was not begun."""
    return RemedyOutcome(False, False, playbook, reason)


class StepEffect:
    """A playbook's step as an act under contract: its effect is seen, or it is taken back.

    `acted` and `seen` say afterwards what was done and what was looked at.
    """

    #: What a step's contract expects, whatever the step does.
    EXPECTED: ClassVar[dict[str, JsonValue]] = {"effect": "seen"}

    def __init__(self, step: Step, ground: Ground) -> None:
        """Take the step; nothing is touched before `act`."""
        self._step, self._ground = step, ground
        self._first: dict[str, JsonValue] | None = None
        self.acted, self.seen = False, _unseen(step, "nothing was done")

    def read(self) -> dict[str, JsonValue]:
        """Return whether the effect was seen, or that it is not there (any more)."""
        return {"effect": "seen" if self.seen.passed else "not seen"}

    def act(self) -> None:
        """Carry the step out and wait for its effect, again after a back-off where it is not seen.

        An error of the act or of the look is evidence that the effect is not there, no crash.
        """
        action = ACTIONS[self._step.action]
        for attempt in range(self._step.tries):
            if attempt:
                time.sleep(self._step.backoff_s * 2 ** (attempt - 1))
            try:
                before = action.snapshot(self._ground)
                self._first = self._first or before
                self.acted = action.act(self._ground) or self.acted
            except (HomeostatError, SQLAlchemyError, OSError) as error:
                self.seen = _unseen(self._step, f"{type(error).__name__}: {error}")
                continue
            self.seen = _await_effect(action, self._ground, before)
            if self.seen.passed:
                break

    def undo(self, before: Mapping[str, JsonValue]) -> None:
        """Take back what was done; raises CannotUndoError where there is no way back."""
        del before
        if self.acted and self._first is not None:
            ACTIONS[self._step.action].undo(self._ground, self._first)


def _await_effect(action: Action, ground: Ground, before: dict[str, JsonValue]) -> Evidence:
    watch = Stopwatch()
    while True:
        try:
            seen = action.observe(ground, before)
        except (HomeostatError, SQLAlchemyError, OSError) as error:
            seen = _unseen(ground.step, f"{type(error).__name__}: {error}")
        if seen.passed or watch.seconds >= ground.step.within_s:
            return seen.model_copy(update={"seconds": watch.seconds})
        time.sleep(_LOOK_EVERY_S)


def _unseen(step: Step, why: str) -> Evidence:
    return Evidence(claim=f"the effect of {step.action}", passed=False, observed={"error": why})
