"""What a replay found: what came out the same, what did not, and what was taken on trust."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from pydantic import JsonValue

from homeostat.trading.replay.compare import Replayed

#: What no replay can derive: it is read where it was written down, and compared where it can be.
LOOKED_UP = (
    "switches, away parties and the supervisor's mode as the journal has them; "
    "what spoke for rivals; governance's verdicts in the audit log; "
    "forecasts of models that run apart"
)


@dataclass(frozen=True)
class Change:
    """What a cycle rested on and is no longer as it was, whatever decision it bears on."""

    cycle: str
    step: str
    what: str


@dataclass(frozen=True)
class Quoted:
    """What was taken as the store has it, and why it could not be derived."""

    what: str
    id: str
    why: str


@dataclass
class Report:
    """What a replay found. `partly` counts decisions of journals that tell of no gates.

    `decisions` are entries, `positions` whole lives from the entry to the exit or to now.
    """

    decisions: list[Replayed] = field(default_factory=list)
    positions: list[Replayed] = field(default_factory=list)
    changed: list[Change] = field(default_factory=list)
    quoted: list[Quoted] = field(default_factory=list)
    partly: int = 0
    #: Cycles whose block of a side was reached anew from the counts that it was judged on.
    blocks: int = 0

    @property
    def differing(self) -> list[Replayed]:
        """The decisions that come out otherwise."""
        return [one for one in self.decisions if not one.same]

    @property
    def otherwise(self) -> list[Replayed]:
        """The positions that come out otherwise."""
        return [one for one in self.positions if not one.same]

    @property
    def sound(self) -> bool:
        """Whether everything came out the same, and nothing it rested on has changed."""
        return not (self.differing or self.otherwise or self.changed)

    def as_json(self, most: int = 100) -> dict[str, JsonValue]:
        """Return the counts, and at most so many of what differs and of what changed."""
        differing, otherwise = self.differing, self.otherwise
        steps = Counter(one.step for one in (*differing, *otherwise))
        quoted = Counter(one.what for one in self.quoted)
        return {
            "decisions": len(self.decisions),
            "same": len(self.decisions) - len(differing),
            "signals_and_barriers_only": self.partly,
            "positions": len(self.positions),
            "positions_same": len(self.positions) - len(otherwise),
            "blocks_derived": self.blocks,
            "differing_at": dict(sorted(steps.items())),
            "quoted_not_derived": dict(sorted(quoted.items())),
            "looked_up": LOOKED_UP,
            "differing": [dict(vars(one)) for one in differing[:most]],
            "positions_differing": [dict(vars(one)) for one in otherwise[:most]],
            "changed": [dict(vars(one)) for one in self.changed[:most]],
            "quoted": [dict(vars(one)) for one in self.quoted[:most]],
        }
