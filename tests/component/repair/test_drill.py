"""The drills: real boots and repairs of a copy of the platform's own source."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from homeostat.repair.drill.patient import Patient
from homeostat.repair.drill.seeds import PLATFORM, TRADING, DrillError, Seed
from homeostat.repair.sandbox import Isolation, detect_isolation

needs_bubblewrap = pytest.mark.skipif(
    detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
)


def drilled(name: str) -> dict[str, Any]:
    """Run a drill as its user does; what depends on the machine's speed is left to the drill."""
    done = subprocess.run(
        [sys.executable, "-m", "homeostat.cli", "drill", name, "--json"],
        check=False, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    story: dict[str, Any] = json.loads(done.stdout)
    missed = [one for one in story["expectations"] if not one["held"]]
    assert not [one for one in missed if not one["timed"]], missed
    assert (done.returncode == 0) == (not missed) == story["held"]
    # How fast is for `homeostat drill` on a machine of its own; what is told of it is judged here.
    assert story["within_limits"] == (not missed)
    return story


@pytest.mark.slow
@needs_bubblewrap
def test_the_seed_drill_comes_out_as_the_seed_reports_say() -> None:
    story = drilled("seed")
    assert (story["boot_before"]["running"], story["boot_before"]["total"]) == (18, 20)
    assert (story["boot_after"]["running"], story["boot_after"]["total"]) == (20, 20)
    assert len({item["id"] for item in story["incidents"]}) == 2
    assert [item["kind"] for item in story["fixes"]] == ["dropped_parameter", "dropped_export"]
    assert story["call_sites_changed"] == []
    added, restored = (item["diff"] for item in story["fixes"])
    assert "+            subsystem=subsystem," in added
    assert "+from homeostat.store.database import async_session" in restored
    first = {item["replay_key"] for item in story["fixes"]}
    assert len(first) == 2
    assert first == {item["replay_key"] for item in story["repeat"]}


def test_a_seed_that_no_longer_fits_the_source_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    with pytest.raises(DrillError, match=r"does not hold 'y = 2' once"):
        Seed("gone", "a.py", "true", "", cuts=("y = 2\n",)).inject(tmp_path)
    with pytest.raises(DrillError, match=r"has no b\.py"):
        Seed("gone", "b.py", "true", "").inject(tmp_path)


@pytest.mark.slow
@needs_bubblewrap
def test_both_defects_of_the_trading_report_are_mended_at_the_api() -> None:
    story = drilled("trading")
    assert [item["kind"] for item in story["fixes"]] == ["moved_module", "dropped_parameter"]
    assert "+        self.min_samples = min_samples" in story["fixes"][1]["diff"]
    assert (
        "+        self.retrain_interval_hours = retrain_interval_hours" in story["fixes"][1]["diff"]
    )
    assert story["call_sites_changed"] == []


@pytest.mark.parametrize("seeds", [PLATFORM, TRADING])
def test_every_seed_fits_the_source_as_it_stands(seeds: tuple[Seed, ...], tmp_path: Path) -> None:
    patient = Patient(tmp_path, seeds)
    patient.lay_out()
    assert patient.changed() == []
