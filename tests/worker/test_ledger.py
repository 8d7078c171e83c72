"""Loss and doubling under real faults, counted; and the control that must lose something."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.ledger import MIXED, Outcome, run


def assert_kept(outcome: Outcome, faults: int) -> None:
    assert outcome.faults == faults, outcome
    assert (outcome.lost, outcome.stranded, outcome.doubled) == (0, 0, 0), outcome
    # Whoever is refused asks again, so in the end every task was promised.
    assert outcome.promised == outcome.tasks
    assert outcome.drained_s is not None


def test_a_killed_main_a_killed_child_and_an_empty_broker_lose_and_double_nothing() -> None:
    assert_kept(run(MIXED, tasks=200, times=3), faults=3)


@pytest.mark.slow
def test_without_the_recovery_the_same_faults_lose_work() -> None:
    outcome = run(MIXED, tasks=200, times=3, recovery=False)

    assert outcome.faults >= 1, outcome
    assert outcome.lost + outcome.stranded > 0, outcome


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_thousand_tasks_under_every_kill_and_an_empty_broker_happen_once_each() -> None:
    assert_kept(run(MIXED, tasks=2_000, times=9, patience_s=400), faults=9)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", ["kill_main", "kill_child", "broker_kill", "broker_flush"])
def test_no_fault_alone_loses_or_doubles(fault: str) -> None:
    assert_kept(run(fault, tasks=800, times=3), faults=3)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_database_that_restarts_loses_and_doubles_nothing() -> None:
    if not list(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")) or not shutil.which("runuser"):
        pytest.skip("no PostgreSQL server binaries in /usr/lib/postgresql/*/bin")
    assert_kept(run("database_restart", tasks=800, times=3), faults=3)
