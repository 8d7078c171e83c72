"""The example plugin, built and installed as a distribution of its own, is a component like any."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from homeostat.settings import settings

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin_kernel"
CONTRACT = """
from homeostat import registry
from homeostat.store.database import transaction
from homeostat.testing import check_contract

with transaction() as session:
    evidence = check_contract(registry.find("plugins.disk_space"), session)
print(evidence.model_dump_json())
"""

HEALED = """
import sys
from homeostat import registry
from homeostat.clock import utcnow
from homeostat.component import Evidence
from homeostat.repair.remedy import Cause

name = "plugins.disk_space"
if "broken" in sys.argv:
    registry.load(name).probe = lambda self, session: Evidence(claim="it works", passed=False)
outcome = registry.find("kernels.self_healing").remedy(Cause("i:1", name, "OSError", utcnow()))
print(outcome.playbook, outcome.acted, outcome.verified)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the example was installed from its own source, without a network."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(EXAMPLE, folder / "source")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"),
            *("--no-build-isolation", "--target", str(folder / "site"), str(source)),
        ],
        check=True,
        timeout=120,
    )
    return folder / "site"


def run(site: Path, *words: str) -> str:
    """Run Python with the plugin installed, on this test's state folder."""
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, *words], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


@pytest.mark.usefixtures("sqlite_store")
def test_a_plugin_from_a_distribution_of_its_own_keeps_the_contract(site: Path) -> None:
    settings().ensure_state_dir()
    evidence = json.loads(run(site, "-c", CONTRACT))
    assert evidence["passed"]
    assert evidence["observed"] == {"written": 4096, "read": 4096}


def test_it_is_listed_beside_what_ships_with_its_own_cadence(site: Path) -> None:
    listed = json.loads(run(site, "-m", "homeostat.cli", "component", "list", "-o", "json"))
    found = {one["name"]: one for one in listed["components"]}
    assert found["plugins.disk_space"]["interval_s"] == 30
    assert len([name for name in found if name.startswith("kernels.")]) == 20


@pytest.mark.parametrize(("probe", "verified"), [("", "True"), ("broken", "False")])
@pytest.mark.usefixtures("sqlite_store")
def test_its_own_remedy_is_carried_out_and_believed_by_its_probe(
    site: Path, probe: str, verified: str
) -> None:
    scratch = settings().ensure_state_dir() / "scratch"
    scratch.mkdir()
    (scratch / "large").write_bytes(b"x" * 4096)
    told = run(site, "-c", HEALED, probe).split()
    assert told == ["plugins.disk_space:clear_scratch", "True", verified]
    assert not scratch.exists()
