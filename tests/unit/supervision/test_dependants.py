"""Whichever kernel fails: what needs it is DEGRADED with that as the reason, the rest runs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.component import State
from homeostat.store.checks import Lease
from homeostat.supervision.state import standings

SPECS = {name: spec for name, spec in registry.specs().items() if name.startswith("kernels.")}


def lease(name: str, *, well: bool) -> Lease:
    now = utcnow()
    return Lease(
        component=name, tier=0, holder="t", expires_at=now + timedelta(minutes=1),
        probe_passed=well, evidence={}, failures_in_row=0 if well else 3, successes_in_row=0,
        reason="" if well else "it was killed",
    )  # fmt: skip


@pytest.mark.parametrize("killed", SPECS)
def test_a_killed_kernel_degrades_what_needs_it_and_nothing_else(killed: str) -> None:
    leases = {name: lease(name, well=name != killed) for name in SPECS}
    found = standings(SPECS, leases, utcnow())
    assert (found[killed].state, found[killed].reason) == (State.FAILED, "it was killed")
    for name, spec in SPECS.items():
        if killed in spec.needs:
            assert found[name].state is State.DEGRADED
            assert found[name].reason == f"needs {killed}, which is FAILED"
        elif name != killed:
            assert found[name].state is State.RUNNING, name


def test_all_twenty_run_where_nothing_is_killed() -> None:
    leases = {name: lease(name, well=True) for name in SPECS}
    states = [one.state for one in standings(SPECS, leases, utcnow()).values()]
    assert states == [State.RUNNING] * 20
