"""Steady state believes the timetable's own ticks, and no check that somebody asked for."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from homeostat.chaos import steady_state
from homeostat.clock import utcnow
from homeostat.store.beat import ADDED, BeatEntry
from homeostat.store.checks import CheckRun
from homeostat.store.database import transaction

pytestmark = pytest.mark.usefixtures("sqlite_store")

ENTRY = "kernels.sandbox"


def ran(entry: str, due: datetime) -> None:
    with transaction() as session:
        run = CheckRun(entry=entry, component=ENTRY, due_at=due, started_at=due, ended_at=due)
        run.passed = True
        session.add(run)


def test_a_check_that_was_asked_for_is_no_tick_of_the_beat() -> None:
    ticked = utcnow() - timedelta(seconds=30)
    with transaction() as session:
        session.add(
            BeatEntry(
                name=ENTRY, task=f"checks.{ENTRY}", interval_s=60.0, declared_s=60.0, kwargs={},
                catch_up=True, source=ADDED, since=ticked, changed_at=ticked,
            )
        )  # fmt: skip
    for asked_for in (f"by-hand.{ENTRY}", f"stress.{ENTRY}"):
        ran(asked_for, utcnow())
    assert steady_state._last_tick() < ticked - timedelta(days=365), (
        "the beat has not ticked at all"
    )
    ran(ENTRY, ticked)
    assert steady_state._last_tick() == ticked
