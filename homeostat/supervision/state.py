"""What state a component is in, from its lease and from those of the components it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from homeostat.component import ComponentSpec, State
from homeostat.store.checks import Lease


@dataclass(frozen=True)
class Standing:
    """A component's state and, unless it is RUNNING, the reason in words."""

    component: str
    state: State
    reason: str


def standings(
    specs: Mapping[str, ComponentSpec], leases: Mapping[str, Lease], now: datetime
) -> dict[str, Standing]:
    """Return the standing of every component in `specs`.

    RUNNING takes a fresh lease and a passed probe, which is the real job done once; a component of
    which a need is FAILED or UNKNOWN is DEGRADED for that reason; what is not known is UNKNOWN.
    """
    own = {name: _own(name, leases.get(name), now) for name in specs}
    return {name: _with_needs(own[name], spec, own) for name, spec in specs.items()}


def _own(name: str, lease: Lease | None, now: datetime) -> Standing:
    if lease is not None and lease.failures_in_row and not lease.probe_passed:
        return Standing(name, State.FAILED, lease.reason or "the last check failed")
    if lease is None or lease.expires_at is None:
        return Standing(name, State.UNKNOWN, "no check has passed yet")
    if lease.expires_at < now:
        age = (now - lease.expires_at).total_seconds()
        return Standing(name, State.UNKNOWN, f"the lease ran out {age:.0f} s ago")
    if not lease.probe_passed:
        return Standing(name, State.FAILED, lease.reason or "the last probe failed")
    if lease.failures_in_row:
        return Standing(name, State.DEGRADED, f"{lease.failures_in_row} failures: {lease.reason}")
    return Standing(name, State.RUNNING, "")


def _with_needs(standing: Standing, spec: ComponentSpec, own: Mapping[str, Standing]) -> Standing:
    if standing.state is not State.RUNNING:
        return standing
    for need in spec.needs:
        other = own.get(need)
        if other is None or other.state in (State.FAILED, State.UNKNOWN):
            state = other.state if other else "missing"
            return Standing(standing.component, State.DEGRADED, f"needs {need}, which is {state}")
    return standing
