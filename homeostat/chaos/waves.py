"""Waves: one mild fault; several moderate ones; compatible severe ones; a rest in between.

The order is random under a published seed, heavier scenarios come more often, and scenarios that
ran least lately come first over the days (`least_run`).
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from homeostat.chaos.scenario import Scenario, Severity

#: The severities in the order of their waves.
ORDER = (Severity.MILD, Severity.MODERATE, Severity.SEVERE)


@dataclass(frozen=True)
class Wave:
    """One wave: its scenarios run one after another, or together where that is `together`."""

    number: int
    scenarios: tuple[Scenario, ...]
    together: bool = False


def waves(scenarios: Sequence[Scenario], *, count: int, seed: int) -> list[Wave]:
    """Return `count` waves over the scenarios, repeating the three kinds; `seed` fixes the order.

    Every scenario stands in one of the first three waves, so that three waves cover them all.
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
        planned.append(Wave(number, tuple(_shuffled(members, chance))))
    if count < len(rounds):
        # Fewer waves than kinds: the last one takes the rest, so that nothing is left out.
        rest = [scenario for members in rounds[count:] for scenario in members]
        last = planned[-1]
        planned[-1] = Wave(last.number, (*last.scenarios, *_shuffled(rest, chance)))
    return planned


def _shuffled(members: Sequence[Scenario], chance: random.Random) -> list[Scenario]:
    """Return the members in a random order in which heavier ones tend to come first."""
    return sorted(members, key=lambda scenario: chance.random() ** (1 / scenario.weight))[::-1]


def compatible(scenarios: Collection[Scenario]) -> bool:
    """Return whether all of them may run at the same time."""
    names = {scenario.id for scenario in scenarios}
    return not any(names & set(scenario.incompatible) for scenario in scenarios)


def least_run(scenarios: Sequence[Scenario], runs: Mapping[str, int]) -> list[Scenario]:
    """Return the scenarios with the least run ones first: coverage over days."""
    return sorted(scenarios, key=lambda scenario: runs.get(scenario.id, 0))
