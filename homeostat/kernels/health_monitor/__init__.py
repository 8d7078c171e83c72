"""Who is well, since when, and which ticks are missing; tells each change once, and only if new.

A change of state is a row before it is an event, so a restart tells nothing twice and a bus that
is away loses nothing. A child of a failed parent is recorded and marked, not announced as news of
its own; neither is what a maintenance window covers, nor each swing of a component that flaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import new_id, utcnow
from homeostat.component import (
    Component,
    ComponentSpec,
    CycleResult,
    Evidence,
    State,
    Stopwatch,
    Wing,
)  # fmt: skip
from homeostat.errors import BrokerUnavailableError
from homeostat.incidents import mutes
from homeostat.kernels.health_monitor import drill, ticks
from homeostat.store import checks, health
from homeostat.store.health import StateChange
from homeostat.supervision.events import undone
from homeostat.supervision.ledger import Account
from homeostat.supervision.ports import Bus
from homeostat.supervision.state import Standing, standings

_NAME = "kernels.health_monitor"
#: So many changes within the time mean that a component flaps (Nagios: 50 % of 21 states).
FLAP_CHANGES, FLAP_WINDOW = 5, timedelta(minutes=10)


class HealthMonitor(Component):
    """Watches leases and ticks; announces changes; sends lost ticks again, once."""

    spec = ComponentSpec(
        name="health_monitor",
        wing=Wing.KERNELS,
        tier=2,
        summary="Knows who is well and which ticks are missing, and says each thing once.",
        needs=("kernels.message_bus",),
        timeout_s=20.0,
    )

    def readiness(self, session: Session) -> dict[str, Standing]:
        """Return the standing of every component that can be loaded."""
        return standings(registry.specs(), checks.leases(session), utcnow())

    def ledger(self, session: Session, start: datetime, end: datetime) -> dict[str, Account]:
        """Return the account of every checked entry for the ticks due in [start, end).

        An entry counts only from when its present interval holds.
        """
        return ticks.ledger(session, start, end)

    def observe(self, session: Session, now: datetime) -> list[StateChange]:
        """Record the changes of state since the last look, each with why it is no news, if so."""
        specs = registry.specs()
        leases = checks.leases(session)
        known = health.newest_changes(session)
        current = standings(specs, leases, now)
        made = []
        for name, standing in current.items():
            before = known[name].after if name in known else State.UNKNOWN
            if standing.state == before:
                continue
            change = StateChange(
                id=new_id(),
                component=name,
                before=before,
                after=standing.state,
                reason=standing.reason[:500],
                at=now,
                suppressed_by=_failed_parent(specs[name].needs, current),
                muted_by=mute.id if (mute := mutes.on_component(session, name, now)) else "",
                flapping=self._flaps(session, name, now),
            )
            session.add(change)
            made.append(change)
        session.flush()
        return made

    def _flaps(self, session: Session, component: str, now: datetime) -> bool:
        recent = health.changes_since(session, component, now - FLAP_WINDOW)
        return len(recent) + 1 >= FLAP_CHANGES

    def announce(self, session: Session, now: datetime) -> int:
        """Tell the bus of what is news, and return how many events that were.

        A recovery is told even of a component that flapped or was muted, so that the last state
        anybody heard of is never a wrong one. A bus that is away is told later.
        """
        told = 0
        for change in health.unannounced(session):
            try:
                told += self._told(change)
            except BrokerUnavailableError:
                break
            change.announced_at = now
        session.flush()
        return told

    def _told(self, change: StateChange) -> int:
        recovered = change.after == State.RUNNING
        held_back = change.suppressed_by or change.muted_by or change.flapping
        if change.flapping and not change.muted_by:
            self._tell_flapping(change)
        if held_back and not recovered:
            return 0
        bus: Bus = self.need("kernels.message_bus")
        if change.after == State.UNKNOWN:
            silent: dict[str, JsonValue] = {
                "component": change.component,
                "silent_s": (utcnow() - change.at).total_seconds(),
                "reason": change.reason,
            }
            bus.publish("health.heartbeat_gap", silent, publisher=_NAME, key=change.component)
        payload: dict[str, JsonValue] = {
            "component": change.component,
            "before": change.before,
            "after": change.after,
            "reason": change.reason,
        }
        bus.publish("health.changed", payload, publisher=_NAME, key=change.component)
        return 1

    def _tell_flapping(self, change: StateChange) -> None:
        bus: Bus = self.need("kernels.message_bus")
        payload: dict[str, JsonValue] = {"component": change.component, "changes": FLAP_CHANGES}
        bus.publish("health.flapping", payload, publisher=_NAME, key=change.component)

    def catch_up(self, session: Session, now: datetime) -> list[str]:
        """Send the newest lost tick of each entry again, each tick at most once.

        Returns the entries. A tick whose late original arrives after all is refused by its key.
        """
        return ticks.catch_up(session, now)

    def probe(self, session: Session) -> Evidence:
        """See a planted failure, its recovery and a planted gap for what they are, and undo it."""
        watch = Stopwatch()
        nonce = new_id()
        with undone(session):
            observed = drill.planted_states(session, self, nonce)
            observed |= drill.planted_gap(session, self, nonce)
        real = self.readiness(session)
        return Evidence(
            claim="a failed component, its recovery and a missing tick are each noticed",
            passed=observed["seen"] == ["UNKNOWN", "RUNNING", "FAILED"]
            and observed["missed"] == 1
            and observed["ran"] == 4
            and observed["window_mutes"] is True
            and bool(real),
            observed={"nonce": nonce, "components": len(real), **observed},
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Record and announce changes, look for gaps, and send lost ticks again."""
        del due_at
        now = utcnow()
        changes = self.observe(session, now)
        told = self.announce(session, now)
        start = max(now - ticks.LEDGER_WINDOW, ticks.beating_since(session, now))
        ledger = self.ledger(session, start, now - timedelta(seconds=ticks.GRACE_S))
        missed = {name: one.missed for name, one in ledger.items() if one.missed}
        self._tell_gaps(missed, now)
        sent = self.catch_up(session, now) if self.context.settings.recovery else []
        return CycleResult(
            work=1 + len(changes) + len(sent),
            observed={
                "changes": {one.component: one.after for one in changes},
                "announced": told,
                "expected": sum(one.expected for one in ledger.values()),
                "missed": dict(missed),
                "doubled": sum(one.doubled for one in ledger.values()),
                "sent_again": list(sent),
            },
        )

    def _tell_gaps(self, missed: Mapping[str, int], now: datetime) -> None:
        bus: Bus = self.need("kernels.message_bus")
        for entry, count in missed.items():
            payload: dict[str, JsonValue] = {
                "entry": entry, "missed": count, "at": now.isoformat(),
            }  # fmt: skip
            try:
                bus.publish("beat.missed", payload, publisher=_NAME, key=entry)
            except BrokerUnavailableError:
                return


def _failed_parent(needs: Sequence[str], current: Mapping[str, Standing]) -> str:
    for need in needs:
        if need in current and current[need].state in {State.FAILED, State.UNKNOWN}:
            return need
    return ""
