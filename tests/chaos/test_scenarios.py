"""The standard scenarios on a real stack, and the same ones with recovery switched off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from homeostat.chaos.catalogue import BY_ID, STANDARD

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FORENSICS = {
    "scenario.json",
    "incident.json",
    "timeline.json",
    "logs.txt",
    "control.json",
    "summary.md",
}


#: The other processes; those of the broker take too long beside other tests.
OTHER_PROCESSES = tuple(name for name in BY_ID if name not in STANDARD and name[0] == "P")


def run(folder: Path, names: Sequence[str], *, recovery: bool) -> tuple[int, list[dict[str, Any]]]:
    """Run scenarios through the door; return the exit code and the results."""
    done = subprocess.run(
        [sys.executable, "-m", "homeostat.cli", "chaos", "run", *names, "--json"],
        env={
            **os.environ,
            "HOMEOSTAT_STATE_DIR": str(folder),
            "HOMEOSTAT_RECOVERY": str(recovery).lower(),
        },
        stdout=subprocess.PIPE,
        timeout=560,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)["results"]


def test_each_passes_with_recovery_and_leaves_its_forensics(tmp_path: Path) -> None:
    code, results = run(tmp_path / "on", STANDARD, recovery=True)
    assert [(one["id"], one["outcome"], one["reasons"]) for one in results] == [
        (name, "PASS", []) for name in STANDARD
    ]
    assert code == 0
    for one in results:
        assert (one["lost"], one["doubled"]) == (0, 0)
        assert 0 <= one["detect_s"] <= one["heal_s"] <= one["bound_s"]
        folder = tmp_path / "on" / one["forensics"]
        assert {path.name for path in folder.iterdir()} >= FORENSICS
        incident = json.loads((folder / "incident.json").read_text())
        assert incident["source"] == "worker"
        assert incident["bundle"]


def test_an_endless_task_and_a_locked_store_are_got_over(tmp_path: Path) -> None:
    code, results = run(tmp_path / "on", ("P6", "S2"), recovery=True)
    assert [(one["id"], one["outcome"], one["reasons"]) for one in results] == [
        ("P6", "PASS", []),
        ("S2", "PASS", []),
    ]
    assert code == 0


@pytest.mark.parametrize(
    "names", [STANDARD, OTHER_PROCESSES, ("S2",)], ids=["standard", "other processes", "store"]
)
def test_each_fails_without_recovery(tmp_path: Path, names: Sequence[str]) -> None:
    code, results = run(tmp_path / "off", names, recovery=False)
    assert [(one["id"], one["outcome"]) for one in results] == [(name, "FAIL") for name in names], (
        results
    )
    assert all(one["happened"]["held"] and one["steady_before"]["held"] for one in results)
    assert code == 1
