from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.component import State
from homeostat.incidents import mutes
from homeostat.incidents.mutes import MuteKind
from homeostat.kernels.health_monitor import FLAP_CHANGES, HealthMonitor
from homeostat.kernels.health_monitor.drill import run_of
from homeostat.store import beat, checks, database
from homeostat.store.beat import BeatEntry
from homeostat.store.embedded import EmbeddedServer
from homeostat.store.health import StateChange
from homeostat.store.jobs import Job
from homeostat.supervision import cadence
from homeostat.testing import check_contract

NAME = "kernels.message_bus"
CHILD = "kernels.scheduler"


@pytest.fixture
def monitor(redis_server: EmbeddedServer, sqlite_store: str) -> HealthMonitor:
    del redis_server, sqlite_store
    found = registry.find("kernels.health_monitor")
    assert isinstance(found, HealthMonitor)
    return found


def believe(component: str, *, passed: bool, now: datetime | None = None) -> None:
    now = now or utcnow()
    with database.transaction() as session:
        lease = checks.lease_of(session, component)
        lease.expires_at = now + timedelta(minutes=5)
        lease.probe_passed, lease.failures_in_row = passed, 0 if passed else 1


def cycle(monitor: HealthMonitor) -> dict[str, Any]:
    with database.transaction() as session:
        return dict(monitor.run(session, utcnow()).observed)


def announced() -> list[tuple[str, str]]:
    bus: Any = registry.find("kernels.message_bus")
    events = bus.replay("health.changed", utcnow() - timedelta(minutes=5))
    return [(event.payload["component"], event.payload["after"]) for event in events]


def test_a_change_is_told_once_also_after_a_restart(monitor: HealthMonitor) -> None:
    believe(NAME, passed=True)
    assert cycle(monitor)["changes"] == {NAME: "RUNNING"}
    believe(NAME, passed=False)
    assert cycle(monitor)["changes"] == {NAME: "FAILED"}
    registry.find.cache_clear()
    again = registry.find("kernels.health_monitor")
    assert isinstance(again, HealthMonitor)
    assert cycle(again)["changes"] == {}
    assert announced() == [(NAME, "RUNNING"), (NAME, "FAILED")]


def test_a_child_of_a_failed_parent_is_recorded_and_not_announced(monitor: HealthMonitor) -> None:
    believe(NAME, passed=True)
    believe(CHILD, passed=True)
    cycle(monitor)
    believe(NAME, passed=False)
    assert cycle(monitor)["changes"] == {NAME: "FAILED", CHILD: "DEGRADED"}
    assert (CHILD, "DEGRADED") not in announced()
    with database.reading() as session:
        change = session.scalars(
            select(StateChange).where(
                StateChange.component == CHILD, StateChange.after == "DEGRADED"
            )
        ).one()
        assert change.suppressed_by == NAME
    believe(NAME, passed=True)
    cycle(monitor)
    assert announced()[-2:] == [(NAME, "RUNNING"), (CHILD, "RUNNING")]


def test_a_maintenance_window_mutes_the_failure_and_not_the_recovery(
    monitor: HealthMonitor,
) -> None:
    believe(NAME, passed=True)
    cycle(monitor)
    with database.transaction() as session:
        ends = utcnow() + timedelta(minutes=5)
        mutes.add(session, MuteKind.MAINTENANCE, "kernels.*", ends_at=ends, actor="anna")
    believe(NAME, passed=False)
    cycle(monitor)
    believe(NAME, passed=True)
    cycle(monitor)
    assert announced() == [(NAME, "RUNNING"), (NAME, "RUNNING")]


def test_a_flapping_component_is_told_as_such_and_its_last_recovery_is_not_lost(
    monitor: HealthMonitor,
) -> None:
    for number in range(FLAP_CHANGES + 4):
        believe(NAME, passed=number % 2 == 0)
        cycle(monitor)
    told = announced()
    assert told.count((NAME, "FAILED")) == 2  # the swings after the fifth change are no news
    assert told[-1] == (NAME, "RUNNING")


def test_a_bus_that_is_away_is_told_later(
    monitor: HealthMonitor, redis_server: EmbeddedServer
) -> None:
    believe(NAME, passed=True)
    redis_server.stop()
    assert cycle(monitor)["announced"] == 0
    redis_server.start()
    assert cycle(monitor)["announced"] == 1
    assert announced() == [(NAME, "RUNNING")]


def entry(name: str, interval: float) -> None:
    with database.transaction() as session:
        session.add(
            BeatEntry(
                name=name, task=f"checks.{name}", interval_s=interval, declared_s=interval,
                kwargs={}, source=beat.ADDED, since=cadence.EPOCH,
            )
        )  # fmt: skip


def test_a_lost_tick_is_found_and_sent_again_once(monitor: HealthMonitor) -> None:
    entry("slow", 30.0)
    entry("fast", 10.0)
    now = utcnow()
    with database.transaction() as session:
        for name, interval in (("slow", 30.0), ("fast", 10.0)):
            for due in cadence.due_between(name, interval, now - timedelta(minutes=5), now):
                newest_lost = cadence.newest_due("slow", 30.0, now - timedelta(seconds=15))
                if (name, due) != ("slow", newest_lost):
                    session.add(run_of(name, due))
    observed = cycle(monitor)
    assert observed["missed"] == {"slow": 1}
    assert observed["sent_again"] == ["slow"]
    assert cycle(monitor)["sent_again"] == []
    with database.reading() as session:
        (job,) = session.scalars(select(Job))
        assert (job.task, job.kwargs["catch_up"]) == ("checks.slow", True)
    bus: Any = registry.find("kernels.message_bus")
    assert bus.replay("beat.missed", now)[0].payload["entry"] == "slow"


def test_a_stack_that_was_down_owes_nothing_for_that_time(monitor: HealthMonitor) -> None:
    entry("slow", 30.0)
    now = utcnow()
    with database.transaction() as session:
        session.add(run_of("slow", cadence.newest_due("slow", 30.0, now - timedelta(minutes=15))))
        session.add(run_of("slow", cadence.newest_due("slow", 30.0, now)))
    observed = cycle(monitor)
    assert (observed["missed"], observed["sent_again"]) == ({}, [])


@pytest.mark.parametrize("name", ["kernels.health_monitor", "kernels.scheduler"])
def test_it_keeps_the_contract(redis_server: EmbeddedServer, store: str, name: str) -> None:
    del redis_server, store
    with database.transaction() as session:
        check_contract(registry.find(name), session)
    with database.reading() as session:
        assert not beat.lock_of(session).holder


def test_standing_and_readiness_agree(monitor: HealthMonitor) -> None:
    believe(NAME, passed=True)
    with database.reading() as session:
        assert monitor.readiness(session)[NAME].state is State.RUNNING
        assert monitor.readiness(session)[CHILD].state is State.UNKNOWN
