"""The scenarios that ship, read from `scenarios.toml`: a scenario is data."""

from __future__ import annotations

import tomllib
from pathlib import Path

from homeostat.chaos.scenario import Scenario
from homeostat.errors import HomeostatError

FILE = Path(__file__).with_name("scenarios.toml")


def _read() -> tuple[Scenario, ...]:
    found = tomllib.loads(FILE.read_text(encoding="utf-8"))
    hypothesis = found["hypothesis"]
    return tuple(Scenario(hypothesis=hypothesis, **row) for row in found["scenario"])


SCENARIOS = _read()
BY_ID = {scenario.id: scenario for scenario in SCENARIOS}
#: What a stress run injects unless told otherwise: each has an executable control.
STANDARD = ("P1", "P2", "B1")


class UnknownScenarioError(HomeostatError):
    """No scenario has that id; `homeostat chaos list` shows them."""

    exit_code = 64


def find(name: str) -> Scenario:
    """Return the scenario of that id; raises UnknownScenarioError."""
    try:
        return BY_ID[name.upper()]
    except KeyError:
        raise UnknownScenarioError(
            f"No scenario is named {name!r}; `homeostat chaos list` shows them."
        ) from None
