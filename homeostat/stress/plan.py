"""The plan of a stress run: how long, how much load, which waves, under which seed."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from homeostat.chaos import catalogue
from homeostat.chaos.waves import Wave, waves
from homeostat.errors import HomeostatError

#: Effect jobs a second. Two cores do some hundreds; the checks and the canaries want their share.
RATE_PER_S = 5.0
#: Known failures are raised this far apart, in seconds: about 60 in calm times of any length.
DRILL_SHORTEST_S, DRILL_LONGEST_S, DRILLS = 1.0, 5.0, 60
#: A canary trade every so many seconds.
CANARY_EVERY_S = 10.0
#: One wave for each of these seconds of load, and three at least: one of each severity.
WAVE_EVERY_S = 100.0
FEWEST_WAVES = 3
#: The system is left alone this long before the first wave and between two, in seconds.
REST_S = 5.0


class PlanError(HomeostatError):
    """The stress run cannot be planned like this."""

    exit_code = 64


@dataclass(frozen=True)
class Plan:
    """What is to be done; `seconds` is the length of the load."""

    seconds: float
    waves: tuple[Wave, ...]
    seed: int
    rate_per_s: float = RATE_PER_S
    drill_every_s: float = DRILL_SHORTEST_S
    canary_every_s: float = CANARY_EVERY_S
    rest_s: float = REST_S

    @property
    def scenario_ids(self) -> list[str]:
        """The scenarios of all waves, each once."""
        return sorted({scenario.id for wave in self.waves for scenario in wave.scenarios})


def plan(
    *,
    minutes: float,
    wave_count: int | None = None,
    seed: int | None = None,
    scenarios: tuple[str, ...] = catalogue.STANDARD,
    runs: Mapping[str, int] | None = None,
) -> Plan:
    """Return the plan; the seed is drawn where none is given, and stands in the report.

    `runs` says how often each scenario ran before: what ran least comes first in its wave.

    Raises PlanError where the length makes no sense, UnknownScenarioError.
    """
    if not 0 < minutes <= 7 * 24 * 60:
        raise PlanError(f"A run of {minutes:g} minutes makes no sense; give 1 to 10080.")
    if wave_count is not None and wave_count < 1:
        raise PlanError(f"{wave_count} waves make no sense; give 1 or more.")
    seconds = minutes * 60
    chosen = [catalogue.find(name) for name in scenarios]
    count = wave_count if wave_count is not None else int(seconds // WAVE_EVERY_S)
    drawn = secrets.randbelow(2**31) if seed is None else seed
    planned = waves(chosen, count=max(count, FEWEST_WAVES), seed=drawn, runs=runs)
    apart = min(max(seconds / DRILLS, DRILL_SHORTEST_S), DRILL_LONGEST_S)
    return Plan(seconds=seconds, waves=tuple(planned), seed=drawn, drill_every_s=apart)
