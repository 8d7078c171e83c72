"""A component's own remedy: what only it knows how to put right, seen to work by its probe."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from homeostat.clock import utcnow
from homeostat.component import Evidence
from homeostat.repair.actions.ground import ActionFailedError, Ground, probed_since
from homeostat.supervision.contracts import CannotUndoError


class HealComponent:
    """Lets the component carry out the remedy that the step names; its probe must pass."""

    def snapshot(self, ground: Ground) -> dict[str, JsonValue]:
        """Remember when it was asked for, so that older evidence does not count."""
        del ground
        return {"at": utcnow().isoformat()}

    def act(self, ground: Ground) -> bool:
        """Carry the remedy out; what it wrote is kept only where it saw itself work."""
        remedy = str(ground.step.parameters["remedy"])
        with ground.transaction() as session:
            seen = ground.find(ground.target).heal(session, remedy)
            if not seen.passed:
                raise ActionFailedError(
                    f"{ground.target} did not see its remedy {remedy} work: {seen.observed}."
                )
        return True

    def observe(self, ground: Ground, before: Mapping[str, JsonValue]) -> Evidence:
        """Probe it: what it said of its own remedy is not enough."""
        return probed_since(ground, before)

    def undo(self, ground: Ground, before: Mapping[str, JsonValue]) -> None:
        """Nobody but the component knows what it did; raises CannotUndoError."""
        del before
        raise CannotUndoError(f"A remedy of {ground.target}'s own cannot be taken back from here.")
