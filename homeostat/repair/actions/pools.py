"""Acts on the size of the workers' pools."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from homeostat.component import Evidence
from homeostat.repair.actions.ground import Ground, is_number
from homeostat.supervision.contracts import CannotUndoError


class GrowPool:
    """Gives the workers more children; the pool must be seen to be larger."""

    def snapshot(self, ground: Ground) -> dict[str, JsonValue]:
        """Remember the size."""
        return {"size": ground.pools().size()}

    def act(self, ground: Ground) -> bool:
        """Grow by the step's `by`, one where it gives none."""
        by = ground.step.parameters.get("by", 1)
        ground.pools().grow(int(by) if is_number(by) else 1)
        return True

    def observe(self, ground: Ground, before: Mapping[str, JsonValue]) -> Evidence:
        """Count again."""
        size = ground.pools().size()
        old = before["size"]
        return Evidence(
            claim="the pool has more children than before",
            passed=isinstance(old, int) and size > old,
            observed={"before": old, "after": size},
        )

    def undo(self, ground: Ground, before: Mapping[str, JsonValue]) -> None:
        """Let the pools go back to the size they had."""
        old = before["size"]
        more = ground.pools().size() - old if isinstance(old, int) else 0
        if more > 0:
            ground.pools().shrink(more)


class RestorePool:
    """Sees that the pools have all their children again, and adds what is missing."""

    def snapshot(self, ground: Ground) -> dict[str, JsonValue]:
        """Remember the size that is wanted."""
        return {"wanted": ground.settings().worker_concurrency}

    def act(self, ground: Ground) -> bool:
        """Grow the pool by what is missing; the worker itself mostly was faster."""
        missing = ground.settings().worker_concurrency - ground.pools().size()
        if missing <= 0:
            return False
        ground.pools().grow(missing)
        return True

    def observe(self, ground: Ground, before: Mapping[str, JsonValue]) -> Evidence:
        """Count again."""
        size, wanted = ground.pools().size(), before["wanted"]
        return Evidence(
            claim="the pool has all its children",
            passed=isinstance(wanted, int) and size >= wanted,
            observed={"wanted": wanted, "size": size},
        )

    def undo(self, ground: Ground, before: Mapping[str, JsonValue]) -> None:
        """A child that is there is wanted, so none is taken away; raises CannotUndoError."""
        del ground, before
        raise CannotUndoError("Children that were added to a pool that lacked them stay.")
