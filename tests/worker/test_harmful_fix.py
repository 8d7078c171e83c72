"""A proven fix that breaks another component on a running stack is taken back by itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from homeostat.clock import from_iso
from homeostat.repair.pickup import STRAGGLERS
from homeostat.repair.sandbox import Isolation, detect_isolation
from tests.component.repair.conftest import begin, git, write
from tests.running_stack import RunningStack, running
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    # A busy machine takes the mended code up in minutes.
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
    ),
]

#: Seconds between two probes; a look at the fix comes each 5 s.
INTERVAL_S = 20
#: `charge` took `amount` until somebody renamed it; who calls it by the new name tells nobody.
PRICES = '''"""Prices."""


def charge(amounts):
    """Return what is charged."""
    return round(amounts, 2)


def receipt(price):
    """Return what a receipt says."""
    return charge(amount=price)
'''
TEST = "from prices import receipt\n\n\ndef test_receipt():\n    assert receipt(3) == 3\n"
COMPONENT = '''"""A component."""

import prices
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing


class {type}(Component):
    """Asks for a price."""

    spec = ComponentSpec(name="{name}", wing=Wing.PLUGINS, tier=2, summary="Asks for a price.",
                         interval_s={interval}, timeout_s=10, rate_limit="60/m")

    def probe(self, session):
        """Ask."""
        watch = Stopwatch()
        price = {call}
        return Evidence(claim="a price is told", passed=price == 3, observed={{"price": price}},
                        seconds=watch.seconds)

    def run(self, session, due_at):
        """Nothing more."""
        return CycleResult(work=1, observed={{"asked": 1}})
'''
CALLS = {"till": "prices.receipt(3)", "scale": 'prices.charge(**{"amounts": 3})'}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with a test and two plugged-in components, of which the drift broke one."""
    made = tmp_path / "shop"
    made.mkdir()
    files = {"prices.py": PRICES, "tests/test_prices.py": TEST, "conftest.py": "",
             ".gitignore": "__pycache__/\n"}  # fmt: skip
    for name, call in CALLS.items():
        filled = {"name": name, "type": name.title(), "interval": INTERVAL_S, "call": call}
        files[f"{name}.py"] = COMPONENT.format(**filled)
    write(made, files)
    begin(made, "Charge amounts")
    info = tmp_path / "site" / "shop-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
    points = "".join(f"{name} = {name}:{name.title()}\n" for name in CALLS)
    (info / "entry_points.txt").write_text(f"[homeostat.components]\n{points}")
    return made


def ended(stack: RunningStack) -> dict[str, Any]:
    """The only repair, once its watch has ended; until then an empty one."""
    [*found] = stack.rows("SELECT status, watch FROM repairs WHERE status != 'searching'")
    watches = [{**row, **json.loads(row["watch"])} for row in found]
    return next((row for row in watches if "ended" in row), {})


def failed_probes(stack: RunningStack) -> list[datetime]:
    """When the neighbour's probe failed."""
    rows = stack.rows(
        "SELECT ended_at FROM check_runs WHERE component = 'plugins.scale' AND NOT passed"
    )
    return [datetime.fromisoformat(row["ended_at"]).replace(tzinfo=UTC) for row in rows]


def test_a_fix_that_breaks_another_component_is_taken_back_within_its_probe_interval(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{checkout}:{tmp_path / 'site'}")
    with running(tmp_path / "var", HOMEOSTAT_REPOSITORY=str(checkout)) as stack:
        repair = wait_until(lambda: ended(stack), "the watch of the fix ends", 500)
        assert repair["status"] == "reverted", repair
        assert "the probe of plugins.scale failed" in repair["ended"]["why"]
        in_force = max(from_iso(one["at"]) for one in repair["taken_up"]) + STRAGGLERS
        seen = min(at for at in failed_probes(stack) if at >= in_force)
        took = from_iso(repair["ended"]["at"]) - seen
        assert took <= timedelta(seconds=INTERVAL_S), took
        assert (checkout / "prices.py").read_text() == PRICES
        assert git(checkout, "status", "--porcelain") == ""
        said = git(checkout, "log", "-1", "--format=%B")
        assert "Homeostat-Takes-Back: " in said
        assert stack.incidents("TypeError", "plugins.till")[0]["state"] == "escalated"
        back = from_iso(repair["ended"]["at"]).replace(tzinfo=None).isoformat(" ")
        wait_until(
            lambda: stack.rows(
                "SELECT 1 FROM check_runs WHERE component = 'plugins.scale' AND passed "
                "AND started_at > :back", back=back,
            ),
            "what it had broken passes again", 120,
        )  # fmt: skip
        commits = git(checkout, "log", "--format=%s").splitlines()
        assert len(commits) == 3, "nobody tries it again"
