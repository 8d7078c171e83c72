from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from homeostat.chaos.scenario import FaultWindow
from homeostat.store import checks
from homeostat.store.checks import CheckRun
from homeostat.store.database import transaction
from homeostat.stress.evidence import cadence
from homeostat.stress.evidence.window import Window
from homeostat.stress.facts import CadenceRow
from homeostat.supervision import cadence as grid
from homeostat.supervision.timetable import check

pytestmark = pytest.mark.usefixtures("sqlite_store")

ENTRY = check("kernels.message_bus", every_s=10)
START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(minutes=1))


def ledger(lateness_s: list[float | None]) -> CadenceRow:
    """The row of six ticks, each started so late; None was never started."""
    due = list(grid.due_between(ENTRY.name, ENTRY.interval_s, WINDOW.start, WINDOW.end))
    with transaction() as session:
        for at, late in zip(due, lateness_s, strict=True):
            if late is not None:
                started = at + timedelta(seconds=late)
                run = CheckRun(entry=ENTRY.name, component=ENTRY.name, due_at=at, passed=True)
                run.started_at = run.ended_at = started
                checks.record_run(session, run)
        [row] = cadence.rows(session, [ENTRY], WINDOW)
    return row


def test_a_tick_that_was_never_started_is_missed_and_named() -> None:
    row = ledger([0.1, None, 0.1, 0.1, 0.1, 0.1])
    assert (row.expected, row.run, row.missed, row.late) == (6, 5, 1, 0)
    assert len(row.due) == 1


def test_a_tick_that_starts_within_its_interval_is_late_and_no_overrun() -> None:
    row = ledger([0.1, 9.9, 0.1, 0.1, 0.1, 0.1])
    assert (row.late, row.overrun) == (1, 0)


def test_a_tick_that_starts_after_the_next_was_due_is_an_overrun() -> None:
    row = ledger([0.1, 10.1, 0.1, 0.1, 0.1, 0.1])
    assert (row.late, row.overrun, row.missed) == (1, 1, 0)


def test_a_tick_at_the_end_of_the_window_is_awaited_until_it_has_ended() -> None:
    on_time: list[float | None] = [0.1, 0.1, 0.1, 0.1, 0.1]
    ledger([*on_time, None])
    with transaction() as session:
        assert not cadence.complete(session, [ENTRY], WINDOW)
    ledger([None, None, None, None, None, 0.2])
    with transaction() as session:
        assert cadence.complete(session, [ENTRY], WINDOW)


def test_a_tick_that_a_fault_swallowed_is_not_awaited() -> None:
    ledger([0.1, None, 0.1, 0.1, 0.1, 0.1])
    fault = FaultWindow(scenario="B1", start=START, end=START + timedelta(seconds=30))
    with transaction() as session:
        assert cadence.complete(session, [ENTRY], Window(WINDOW.start, WINDOW.end, [fault]))


def test_a_start_within_two_seconds_is_on_time() -> None:
    row = ledger([1.9, 2.1, 0.1, 0.1, 0.1, 0.1])
    assert row.late == 1
    assert row.lateness_max_s == pytest.approx(2.1)
