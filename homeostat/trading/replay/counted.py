"""The supervisor's verdicts on a model, from cycle to cycle: each is reached on what was counted.

A verdict blocks a side by the signals of late. A cycle journals on which counts the verdict was
reached and what they came to with its own batch, so both follow from the cycles before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.store.trading import PAPER, DecisionCycle
from homeostat.trading.flow.batch import Batch
from homeostat.trading.model_supervisor.rules import FORGET, blocked_side
from homeostat.trading.replay.ledger import Kept

#: A verdict that was being reached while cycles went on may be so many of them behind.
_BEHIND = 3
_SAME = 1e-9


class Counted:
    """What the last cycles journaled of each model's counts, in the order in which they ran."""

    def __init__(self) -> None:
        self._last: dict[str, deque[Mapping[str, Any]]] = {}
        self._primed = False

    def prime(self, session: Session, cycle_id: str, kept: Kept | None) -> None:
        """Read what the cycles before the first one journaled, as far back as all are kept."""
        if self._primed:
            return
        self._primed = True
        statement = select(DecisionCycle.inputs).where(
            DecisionCycle.book == PAPER, DecisionCycle.id < cycle_id
        )
        if kept is not None:
            statement = statement.where(DecisionCycle.id >= kept.id)
        newest = statement.order_by(DecisionCycle.id.desc()).limit(_BEHIND)
        for inputs in reversed(session.scalars(newest).all()):
            self.note(inputs)

    def note(self, told: Mapping[str, Any]) -> None:
        """Remember what a cycle told, for those after it."""
        known = told.get("supervisor")
        if known:
            self._last.setdefault(known["model"], deque(maxlen=_BEHIND)).append(known)

    def differences(
        self, told: Mapping[str, Any], batch: Batch, *, alone: bool = False
    ) -> Iterator[str]:
        """Yield what of a cycle's verdict does not follow from what was counted before.

        With `alone` only the verdict is looked at, and not whence its counts come.
        """
        known, now = told.get("supervisor"), batch.told.get("supervisor")
        if not now:
            return
        if not known:
            # Since journals tell of adds, each tells of a verdict that was asked for.
            if "adds" in told:
                yield "the verdict is not told of"
            return
        if known["model"] != now["model"]:
            yield f"the verdict was on {known['model']}, and {now['model']} was asked"
        side = blocked_side(*known["judged"]) if known["judged"] and known["enforced"] else 0
        if side != known["side"]:
            yield (
                f"the side blocked was {known['side']}, and its counts {known['judged']} "
                f"come to {side}"
            )
        before = self._last.get(known["model"])
        if not before or alone:
            return
        follows = [
            FORGET * one + more
            for one, more in zip(before[-1]["counted"], now["counted"], strict=True)
        ]
        if not _alike(follows, known["counted"]):
            yield f"the signals counted were {known['counted']}, and come to {follows}"
        reached = [one[name] for one in before for name in ("judged", "counted") if one[name]]
        if known["judged"] and not any(_alike(known["judged"], one) for one in reached):
            yield f"the verdict was reached on {known['judged']}, which no cycle before counted"


def _alike(one: list[float], other: list[float]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(abs(a - b) <= _SAME * max(abs(a), abs(b), 1.0) for a, b in pairs)
