"""Mended code reaches the stack's own processes that run no tasks: restarted in turn."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from homeostat.clock import utcnow
from homeostat.supervision import renewal
from tests.conftest import forget_settings
from tests.running_stack import RunningStack, running
from tests.waiting import wait_until
from workers import mended_code
from workers.mended_code import RESTARTED_IN_TURN, MendedCode

#: An entry that is due often.
ENTRY = "kernels.scheduler"


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout that plugs into the stack: its code is imported from there."""
    checkout = tmp_path / "plugin"
    checkout.mkdir()
    (checkout / "shop.py").write_text("PRICE = 1\n")
    subprocess.run(["git", "init", "-q"], cwd=checkout, check=True)
    monkeypatch.setenv("HOMEOSTAT_REPOSITORY", str(checkout))
    monkeypatch.setenv("PYTHONPATH", str(checkout))
    forget_settings()
    return checkout


def test_a_fix_has_arrived_once_and_only_if_its_code_loads(
    plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mended_code, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(mended_code, "_MODULES", ("shop",))
    monkeypatch.setattr(sys, "path", [str(plugin), *sys.path])
    code = MendedCode(utcnow())
    assert not code.arrived(), "nothing has landed"
    (plugin / "shop.py").write_text("PRICE = (\n")
    renewal.mark(plugin / ".git", "a" * 40)
    assert not code.arrived()
    assert "SyntaxError" in renewal.refusal(plugin / ".git", "a" * 40)
    (plugin / "shop.py").write_text("PRICE = 2\n")
    renewal.mark(plugin / ".git", "b" * 40)
    assert code.arrived()
    assert not code.arrived(), "it was taken up"


def due(stack: RunningStack) -> list[str]:
    """The ticks of the entry that have run, each as often as it was delivered."""
    rows = stack.rows(
        "SELECT due_at, deliveries FROM check_runs WHERE entry = :entry ORDER BY due_at",
        entry=ENTRY,
    )
    return [str(row["due_at"]) for row in rows for _ in range(row["deliveries"])]


@pytest.mark.slow
def test_what_serves_schedules_and_watches_is_restarted_and_no_tick_is_doubled(
    plugin: Path, tmp_path: Path
) -> None:
    with running(tmp_path / "var", HOMEOSTAT_REPOSITORY=str(plugin)) as stack:
        wait_until(lambda: len(due(stack)) >= 2, "the beat ticks", 60)
        before = stack.pids()
        redis = before["redis"]
        renewal.mark(plugin / ".git", "a" * 40)
        wait_until(
            lambda: all(stack.pids().get(name, before[name]) != before[name]
                        for name in RESTARTED_IN_TURN),
            "each has started anew", 90,
        )  # fmt: skip
        ticked = len(due(stack))
        wait_until(lambda: len(due(stack)) >= ticked + 2, "the new beat ticks", 60)
        told = json.loads((stack.state_dir / "api.json").read_text())
        assert told["pid"] == stack.pids()["api"]
        assert stack.pids()["redis"] == redis, "what runs none of our code is left alone"
        assert stack.incidents("%LostError") == [], "a stop that was asked for is no incident"
        assert max(Counter(due(stack)).values()) == 1, "two beats never sent one tick"
