"""The two defects of the trading report: a module that cannot be imported, a constructor that
does not know what it is given; in a copy of the platform's own source.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from homeostat.repair.agent import Apply, Options, RepairOutcome, fix
from homeostat.repair.drill.expectation import (
    Expectation,
    mended,
    replayed,
    shown,
    within_limits,
)
from homeostat.repair.drill.patient import Patient
from homeostat.repair.drill.seeds import TRADING, Seed
from homeostat.repair.knowledge import Knowledge

_EFFECT = """
from desk.start import opened
from homeostat import registry
plan = opened(samples="7", hours="3")
print(registry.load("trading.position_intelligence").__name__, end=" ")
print(plan.min_samples, plan.retrain_interval_hours)
"""
_SEEN = "PositionIntelligence 7 3"


def drill() -> dict[str, Any]:
    """Run the drill; `held` says whether all was as expected, `within_limits` whether in time.

    `expectations` says it of each. Raises DrillError where it cannot be laid out on this source.
    """
    with tempfile.TemporaryDirectory(prefix="homeostat-drill-") as scratch:
        folder = Path(scratch)
        patient = Patient(folder, TRADING)
        patient.lay_out()
        options = Options(
            apply=Apply.APPROVED, knowledge=Knowledge.at(folder / "knowledge.sqlite3")
        )
        fixes = _mend(patient, options)
        own = {path for seed in TRADING for path in (seed.path, seed.moved_to)}
        call_sites = [path for path in patient.changed() if path not in own]
        effect = patient.python("-c", _EFFECT)
        patient.injure_again()
        repeat = _mend(patient, options)
    said = effect.stdout.strip() or effect.stderr.strip()[-300:]
    expectations = [
        *(
            Expectation(f"{seed.name}: seen as it is", seed.error in found.failure, found.failure)
            for seed, found in fixes
        ),
        *(mended(seed, outcome) for seed, outcome in fixes),
        Expectation("the call sites are untouched", not call_sites, str(call_sites)),
        Expectation("the module is a component again, the figures are kept", said == _SEEN, said),
        *(one for seed, outcome in repeat for one in replayed(seed, outcome)),
    ]
    return {
        "held": all(one.held for one in expectations),
        "within_limits": within_limits(expectations),
        "fixes": [shown(seed, outcome) for seed, outcome in fixes],
        "effect": said,
        "call_sites_changed": call_sites,
        "repeat": [shown(seed, outcome) for seed, outcome in repeat],
        "expectations": [one.as_json() for one in expectations],
    }


def _mend(patient: Patient, options: Options) -> list[tuple[Seed, RepairOutcome]]:
    """Mend each seed; the drill is the person that approves what the evidence does not cover."""
    return [(seed, fix(patient.repository, seed.command, options)) for seed in patient.seeds]
