"""What a drill expects, and what was seen instead."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from homeostat.repair.drill.seeds import Seed
from homeostat.repair.outcome import RepairOutcome

#: How long a fix from knowledge may take, its proof included, in seconds.
REPLAYED_WITHIN_S = 3.0


@dataclass(frozen=True)
class Expectation:
    """One thing that a drill expects, and whether it held; `timed`: it depends on the machine."""

    what: str
    held: bool
    seen: str
    timed: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return it for output."""
        return {"what": self.what, "held": self.held, "seen": self.seen, "timed": self.timed}


def mended(seed: Seed, outcome: RepairOutcome) -> Expectation:
    """Expect a proven and committed patch of the seed's own file and of no other."""
    chosen = outcome.chosen
    title = chosen.candidate.title if chosen else "no patch was proven"
    files = {path for path in (seed.path, seed.moved_to) if path}
    return Expectation(
        f"{seed.name}: mended at the API, proven, committed",
        chosen is not None
        and set(chosen.candidate.changes) <= files
        and chosen.proof.holds
        and bool(outcome.commit),
        f"{outcome.status.value}: {title}",
    )


def replayed(seed: Seed, outcome: RepairOutcome) -> list[Expectation]:
    """Expect the fix from knowledge, proven again, and in time."""
    chosen = outcome.chosen
    return [
        Expectation(
            f"{seed.name}, again: from knowledge, proven",
            outcome.from_knowledge and chosen is not None and chosen.proof.holds,
            "from knowledge" if outcome.from_knowledge else f"{outcome.status.value}, searched",
        ),
        Expectation(
            f"{seed.name}, again: within {REPLAYED_WITHIN_S:g} s",
            outcome.seconds <= REPLAYED_WITHIN_S,
            f"{outcome.seconds:.2f} s",
            timed=True,
        ),
    ]


def within_limits(expectations: Iterable[Expectation]) -> bool:
    """Whether all that depends on the machine's speed was in time."""
    return all(one.held for one in expectations if one.timed)


def shown(seed: Seed, outcome: RepairOutcome) -> dict[str, Any]:
    """Return one fix for output."""
    chosen = outcome.chosen
    return {
        "seed": seed.name,
        "file": next(iter(chosen.candidate.changes)) if chosen else "",
        "kind": chosen.candidate.defect.value if chosen else "",
        "side": chosen.candidate.side.value if chosen else "",
        "diff": chosen.diff if chosen else "",
        "proof": chosen.proof.as_json() if chosen else None,
        "seconds": round(outcome.seconds, 3),
        "from_knowledge": outcome.from_knowledge,
        "status": outcome.status.value,
        "commit": outcome.commit,
        "failure": outcome.failure,
        "signature": outcome.signature,
        "replay_key": outcome.replay_key,
        "refused": [f"{item.candidate.title} → {item.proof.refusal}" for item in outcome.refused],
    }
