"""What a run of the repair benchmark comes to: one case's result, and the counts of all."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from benchmarks.repair_defects import CLEAR


@dataclass(frozen=True)
class Result:
    """One case and how it ended."""

    package: str
    kind: str
    history: bool
    outcome: str
    status: str
    right: bool
    seconds: float
    repeat_s: float | None
    target: str
    test: str
    title: str
    reason: str
    stages: dict[str, float] = field(default_factory=dict)
    repeat_stages: dict[str, float] = field(default_factory=dict)


def percentile(values: list[float], share: float) -> float | None:
    """Return the value below which a share of the values lies (nearest rank)."""
    if not values:
        return None
    return round(sorted(values)[max(0, math.ceil(share * len(values)) - 1)], 2)


def summary(results: list[Result]) -> dict[str, Any]:
    """Count the results: over all, per class, and with and without history apart."""
    per_class: dict[str, Counter[str]] = defaultdict(Counter)
    per_history: dict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        wrong = result.outcome
        if wrong == "wrong":
            wrong = "wrong_applied" if result.status == "applied" else "wrong_waiting"
        per_class[result.kind][wrong] += 1
        per_history["history" if result.history else "no_history"][wrong] += 1
    clear = [item for item in results if item.kind in CLEAR]
    first, repeat = [r.seconds for r in results], [r.repeat_s for r in results if r.repeat_s]
    return {
        "cases": len(results),
        "fixed": sum(item.right for item in results),
        "applied": sum(item.right and item.status == "applied" for item in results),
        "waiting": sum(item.right and item.status == "waiting" for item in results),
        "refused": sum(item.outcome == "refused" for item in results),
        "wrong_waiting": sum(i.outcome == "wrong" and i.status != "applied" for i in results),
        "wrong_applied": sum(i.outcome == "wrong" and i.status == "applied" for i in results),
        "clear_cases": len(clear),
        "clear_fixed": sum(item.right for item in clear),
        "per_class": {kind: dict(counts) for kind, counts in sorted(per_class.items())},
        "per_history": {kind: dict(counts) for kind, counts in per_history.items()},
        "first_fix_p50_s": percentile(first, 0.5),
        "first_fix_p95_s": percentile(first, 0.95),
        "repeat_fix_p50_s": percentile(repeat, 0.5),
        "repeat_fix_p95_s": percentile(repeat, 0.95),
        "repeats": len(repeat),
    }
