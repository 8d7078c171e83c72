"""A check earns a lease, and only a passed probe behind a fresh one is RUNNING."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.component import (
    Component,
    ComponentSpec,
    Context,
    CycleResult,
    Evidence,
    State,
    Thresholds,
    Wing,
)
from homeostat.errors import ProbeFailedError
from homeostat.settings import settings
from homeostat.store import checks
from homeostat.store.database import reading, transaction
from homeostat.supervision.check import Tick, record_failure, run_check
from homeostat.supervision.state import standings

pytestmark = pytest.mark.usefixtures("store")

SPEC = ComponentSpec(
    name="pump",
    wing=Wing.PLUGINS,
    tier=1,
    summary="Pumps.",
    needs=("plugins.valve",),
    thresholds=Thresholds(fail_after=2, recover_after=2),
)
VALVE = ComponentSpec(name="valve", wing=Wing.PLUGINS, tier=0, summary="Opens.")


class Pump(Component):
    """A component whose pressure the test sets."""

    spec = SPEC
    pressure = 3

    def probe(self, session: Session) -> Evidence:
        del session
        return Evidence(
            claim="there is pressure",
            passed=self.pressure > 1,
            observed={"pressure": self.pressure},
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        del session, due_at
        return CycleResult(work=1, observed={"pumped": self.pressure})


def tick(seconds: float = 0) -> Tick:
    return Tick("plugins.pump", utcnow() + timedelta(seconds=seconds), 10)


def pump() -> Pump:
    def nobody(name: str) -> Component:
        raise LookupError(name)

    return Pump(Context(settings(), nobody))


def check(component: Pump, at: Tick) -> object:
    with transaction() as session:
        return run_check(session, component, at)


def fail(at: Tick) -> None:
    with transaction() as session:
        record_failure(session, "plugins.pump", at, "no pressure", fail_after=2)


def state(later: timedelta = timedelta()) -> State:
    valve = checks.Lease(
        component="plugins.valve",
        probe_passed=True,
        failures_in_row=0,
        expires_at=utcnow() + timedelta(days=1),
    )
    with reading() as session:
        leases = checks.leases(session) | {"plugins.valve": valve}
    found = standings({"plugins.pump": SPEC, "plugins.valve": VALVE}, leases, utcnow() + later)
    return found["plugins.pump"].state


def test_a_component_that_was_never_checked_is_unknown() -> None:
    assert state() is State.UNKNOWN


def test_one_success_is_not_enough_where_two_are_asked_for() -> None:
    check(pump(), tick())
    assert state() is not State.RUNNING

    check(pump(), tick(1))
    assert state() is State.RUNNING


def test_a_lease_that_ran_out_is_unknown_again() -> None:
    check(pump(), tick())
    check(pump(), tick(1))

    assert state(later=timedelta(seconds=30)) is State.RUNNING
    assert state(later=timedelta(seconds=60)) is State.UNKNOWN


def test_a_probe_that_does_not_pass_records_nothing_and_raises() -> None:
    weak = pump()
    weak.pressure = 0

    with pytest.raises(ProbeFailedError, match="pressure"):
        check(weak, tick())
    with reading() as session:
        assert session.scalars(select(checks.CheckRun)).all() == []


def test_failures_below_the_threshold_degrade_and_at_it_fail() -> None:
    check(pump(), tick())
    check(pump(), tick(1))
    fail(tick(2))
    assert state() is State.DEGRADED

    fail(tick(3))
    assert state() is State.FAILED


def test_it_is_running_again_only_after_enough_successes() -> None:
    check(pump(), tick())
    check(pump(), tick(1))
    fail(tick(2))
    fail(tick(3))

    check(pump(), tick(4))
    assert state() is State.FAILED
    check(pump(), tick(5))
    assert state() is State.RUNNING


def test_a_tick_delivered_twice_has_one_run_and_the_repeat_is_counted() -> None:
    once = tick()

    assert check(pump(), once) is not None
    assert check(pump(), once) is None
    with reading() as session:
        run = session.scalars(select(checks.CheckRun)).one()
    assert run.deliveries == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda lease: setattr(lease, "probe_passed", False), "FAILED"),
        (lambda lease: setattr(lease, "expires_at", utcnow() - timedelta(1)), "UNKNOWN"),
    ],
)
def test_a_need_that_is_away_degrades_with_that_reason(
    change: Callable[[checks.Lease], None], reason: str
) -> None:
    leases = {}
    for name in ("plugins.pump", "plugins.valve"):
        leases[name] = checks.Lease(
            component=name,
            probe_passed=True,
            failures_in_row=0,
            reason="",
            expires_at=utcnow() + timedelta(days=1),
        )
    change(leases["plugins.valve"])
    found = standings({"plugins.pump": SPEC, "plugins.valve": VALVE}, leases, utcnow())

    assert found["plugins.pump"].state is State.DEGRADED
    assert reason in found["plugins.pump"].reason
    assert "plugins.valve" in found["plugins.pump"].reason
