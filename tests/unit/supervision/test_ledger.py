from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from homeostat.store.checks import CheckRun
from homeostat.store.timing import RepeatKind, TickRepeat
from homeostat.supervision.cadence import due_between
from homeostat.supervision.ledger import Due, accounts

START = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)


def run_at(entry: str, due: datetime, late_s: float = 0.0) -> CheckRun:
    begin = due + timedelta(seconds=late_s)
    return CheckRun(entry=entry, component="c", due_at=due, started_at=begin, ended_at=begin)


@given(
    name=st.text("abc.", min_size=1, max_size=8),
    interval=st.sampled_from([0.5, 1.0, 5.0, 7.3, 60.0]),
    minutes=st.integers(1, 10),
    data=st.data(),
)
def test_expected_is_always_run_plus_missed_and_each_fault_is_counted_once(
    name: str, interval: float, minutes: int, data: st.DataObject
) -> None:
    end = START + timedelta(minutes=minutes)
    due = list(due_between(name, interval, START, end))
    lost = data.draw(st.sets(st.sampled_from(due), max_size=3)) if due else set()
    late = data.draw(st.sets(st.sampled_from(due), max_size=3)) if due else set()
    runs = [run_at(name, at, 3.0 if at in late else 0.1) for at in due if at not in lost]
    stray = [run_at(name, START + timedelta(microseconds=1 + n)) for n in range(2)]
    repeats = [TickRepeat(entry=name, due_at=START, kind=RepeatKind.PUBLISHED_TWICE)]
    repeats += [TickRepeat(entry=name, due_at=START, kind=RepeatKind.REDELIVERED)] * 2
    account = accounts([Due(name, interval)], [*runs, *stray], repeats, START, end)[name]
    assert account.expected == len(due)
    assert account.run + account.missed == account.expected
    assert set(account.missing) == lost
    assert account.late == len(late - lost)
    assert account.doubled == 2 + 1
    assert account.redelivered == 2


def test_an_entry_that_never_ran_is_missed_at_every_tick() -> None:
    account = accounts([Due("e", 5.0)], [], [], START, START + timedelta(minutes=1))["e"]
    assert (account.expected, account.run, account.missed) == (12, 0, 12)
