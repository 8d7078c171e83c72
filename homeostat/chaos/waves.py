"""Waves: mild faults one by one; several moderate ones at once; compatible severe ones together.

The order is random under a published seed, heavier scenarios tend to come first, and before all
that what ran least often so far: coverage over days.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from homeostat.chaos.scenario import Scenario, Severity

#: The severities in the order of their waves.
ORDER = (Severity.MILD, Severity.MODERATE, Severity.SEVERE)

Batch = tuple[Scenario, ...]


@dataclass(frozen=True)
class Wave:
    """One wave: batches one after another; the scenarios of a batch strike at the same moment."""

    number: int
    batches: tuple[Batch, ...]

    @property
    def scenarios(self) -> Batch:
        """All scenarios of the wave."""
        return tuple(scenario for batch in self.batches for scenario in batch)


def waves(
    scenarios: Sequence[Scenario],
    *,
    count: int,
    seed: int,
    runs: Mapping[str, int] | None = None,
) -> list[Wave]:
    """Return `count` waves over the scenarios, repeating the three kinds; `seed` fixes the order.

    Every scenario stands in one of the first three waves, so that three waves cover them all.
    `runs` says how often each ran before; what ran least comes first.
    """
    chance = random.Random(seed)  # noqa: S311  # a repeatable order, no secret
    by_severity = {
        severity: [scenario for scenario in scenarios if scenario.severity is severity]
        for severity in ORDER
    }
    rounds = [members for severity in ORDER if (members := by_severity[severity])]
    if not rounds:
        return []
    planned = []
    for number in range(1, count + 1):
        members = rounds[(number - 1) % len(rounds)]
        planned.append(Wave(number, batches(_ordered(members, chance, runs or {}))))
    if count < len(rounds):
        # Fewer waves than kinds: the last one takes the rest, so that nothing is left out.
        rest = [batches(_ordered(members, chance, runs or {})) for members in rounds[count:]]
        last = planned[-1]
        planned[-1] = Wave(last.number, sum(rest, last.batches))
    return planned


def _ordered(
    members: Sequence[Scenario], chance: random.Random, runs: Mapping[str, int]
) -> list[Scenario]:
    """Return the members in a random order: least run first, then heavier ones rather first."""
    luck = {member.id: chance.random() ** (1 / member.weight) for member in members}
    return sorted(members, key=lambda member: (runs.get(member.id, 0), -luck[member.id]))


def batches(scenarios: Sequence[Scenario]) -> tuple[Batch, ...]:
    """Part the scenarios into batches that may strike at once, in order; a mild one stays alone."""
    found: list[Batch] = []
    for scenario in scenarios:
        for place, batch in enumerate(found):
            if compatible((*batch, scenario)):
                found[place] = (*batch, scenario)
                break
        else:
            found.append((scenario,))
    return tuple(found)


def compatible(scenarios: Collection[Scenario]) -> bool:
    """Return whether all of them may strike at once.

    Two faults on one target, or with a mild one among them, could not be told apart.
    """
    names = {scenario.id for scenario in scenarios}
    targets = [target for scenario in scenarios for target in scenario.target.split(",")]
    return (
        all(scenario.severity is not Severity.MILD for scenario in scenarios)
        and len(set(targets)) == len(targets)
        and not any(names & set(scenario.incompatible) for scenario in scenarios)
    )
