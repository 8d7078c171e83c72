"""Who is well, since when, and which ticks are missing; tells each change once, and only if new.

A change of state is a row before it is an event, so a restart tells nothing twice and a bus that
is away loses nothing. A child of a failed parent is recorded and marked, not announced as news of
its own; neither is what a maintenance window covers, nor each swing of a component that flaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

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
from homeostat.store import beat, checks, health, jobs, timing
from homeostat.store.beat import BeatEntry
from homeostat.store.checks import CheckRun, Lease
from homeostat.store.health import MaintenanceWindow, StateChange
from homeostat.supervision import cadence
from homeostat.supervision.ledger import Account, Due, accounts
from homeostat.supervision.ports import Bus
from homeostat.supervision.state import Standing, standings

_NAME = "kernels.health_monitor"
#: So many changes within the time mean that a component flaps (Nagios: 50 % of 21 states).
FLAP_CHANGES, FLAP_WINDOW = 5, timedelta(minutes=10)
#: The window of the live ledger.
LEDGER_WINDOW = timedelta(minutes=10)
#: A tick that has not run this long after it was due is lost, in seconds.
GRACE_S = 15.0
#: Ticks are sent again for entries at least this slow: a faster one has its next tick sooner.
CATCH_UP_FROM_S = 20.0


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

    def open_window(
        self, session: Session, components: str, *, minutes: float, actor: str, reason: str
    ) -> MaintenanceWindow:
        """Open a maintenance window over a pattern of components, from now on."""
        now = utcnow()
        window = MaintenanceWindow(
            id=new_id(), components=components, starts_at=now,
            ends_at=now + timedelta(minutes=minutes), actor=actor, reason=reason,
        )  # fmt: skip
        session.add(window)
        session.flush()
        return window

    def ledger(self, session: Session, start: datetime, end: datetime) -> dict[str, Account]:
        """Return the account of every checked entry for the ticks due in [start, end).

        An entry counts only from when its present interval holds.
        """
        runs = checks.runs_between(session, start, end)
        repeats = timing.repeats_between(session, start, end)
        found: dict[str, Account] = {}
        for entry in _checked_entries(session):
            since = max(start, entry.since)
            due = Due(entry.name, entry.interval_s)
            mine = [run for run in runs if run.entry == entry.name and run.due_at >= since]
            again = [one for one in repeats if one.due_at >= since]
            found |= accounts([due], mine, again, since, max(since, end))
        return found

    def observe(self, session: Session, now: datetime) -> list[StateChange]:
        """Record the changes of state since the last look, each with why it is no news, if so."""
        specs = registry.specs()
        leases = checks.leases(session)
        known = health.newest_changes(session)
        windows = health.windows_at(session, now)
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
                muted_by=window.id if (window := health.muting(windows, name)) else "",
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
        sent = []
        for entry in _checked_entries(session):
            if not entry.catch_up or entry.interval_s < CATCH_UP_FROM_S:
                continue
            due = cadence.newest_due(entry.name, entry.interval_s, now - timedelta(seconds=GRACE_S))
            if due < max(entry.since, _beating_since(session, now)) or _has_run(
                session, entry.name, due
            ):
                continue
            job = jobs.enqueue(
                session,
                entry.task,
                {
                    "entry": entry.name,
                    "due_at": due.isoformat(),
                    "interval_s": entry.interval_s,
                    "catch_up": True,
                },
                queue="checks",
                natural_key=f"catch-up:{entry.name}:{due.isoformat()}",
            )
            if job is not None:
                sent.append(entry.name)
        return sent

    def probe(self, session: Session) -> Evidence:
        """See a planted failure, its recovery and a planted gap for what they are, and undo it."""
        watch = Stopwatch()
        nonce = new_id()
        undo = session.begin_nested()
        try:
            observed = self._planted_states(session, nonce) | self._planted_gap(session, nonce)
        finally:
            undo.rollback()
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

    def _planted_states(self, session: Session, nonce: str) -> dict[str, JsonValue]:
        """Take a planted lease through three states, as the live standing sees them."""
        spec = self.spec.model_copy(update={"name": "planted", "needs": ()})
        name = spec.full_name
        now = utcnow()
        lease = Lease(
            component=name, tier=2, holder=nonce, probe_passed=True, evidence={},
            failures_in_row=0, successes_in_row=1, reason="",
        )  # fmt: skip

        def seen() -> JsonValue:
            return str(standings({name: spec}, {name: lease}, now)[name].state)

        states: list[JsonValue] = [seen()]
        lease.expires_at, lease.worked_at = now + timedelta(minutes=1), now
        states.append(seen())
        lease.failures_in_row, lease.probe_passed = 1, False
        states.append(seen())
        window = self.open_window(session, f"*{nonce}", minutes=1, actor=_NAME, reason="probe")
        mutes = health.muting(health.windows_at(session, utcnow()), f"x{nonce}")
        return {"seen": states, "window_mutes": mutes is not None and mutes.id == window.id}

    def _planted_gap(self, session: Session, nonce: str) -> dict[str, JsonValue]:
        """Write the runs of four of five ticks, and hold the ledger to the one that is missing."""
        entry = BeatEntry(
            name=f"planted.{nonce}", task="checks.planted", interval_s=10.0, declared_s=10.0,
            kwargs={}, catch_up=False, source=beat.ADDED, since=cadence.EPOCH, changed_at=utcnow(),
        )  # fmt: skip
        session.add(entry)
        first = cadence.newest_due(entry.name, 10.0, utcnow() - timedelta(hours=1))
        for number in (0, 1, 3, 4):
            due = first + timedelta(seconds=10 * number)
            session.add(_run(entry.name, due))
        session.flush()
        account = self.ledger(session, first, first + timedelta(seconds=50))[entry.name]
        return {"ran": account.run, "missed": account.missed, "expected": account.expected}

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Record and announce changes, look for gaps, and send lost ticks again."""
        del due_at
        now = utcnow()
        changes = self.observe(session, now)
        told = self.announce(session, now)
        start = max(now - LEDGER_WINDOW, _beating_since(session, now))
        ledger = self.ledger(session, start, now - timedelta(seconds=GRACE_S))
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


def _checked_entries(session: Session) -> Sequence[BeatEntry]:
    """Return the entries whose task records its runs: the components' checks."""
    return [entry for entry in beat.timetable(session) if entry.task.startswith("checks.")]


def _beating_since(session: Session, now: datetime) -> datetime:
    """Return since when ticks may be expected: the newest gap of a minute without any run."""
    runs = checks.runs_between(session, now - 2 * LEDGER_WINDOW, now)
    dues = sorted(run.due_at for run in runs if not run.entry.startswith(("boot.", "by-hand.")))
    if not dues:
        return now
    since = dues[0]
    for before, after in pairwise(dues):
        if after - before > timedelta(minutes=1):
            since = after
    return since


def _has_run(session: Session, entry: str, due: datetime) -> bool:
    instant = timedelta(microseconds=1)
    return any(run.entry == entry for run in checks.runs_between(session, due, due + instant))


def _run(entry: str, due: datetime) -> CheckRun:
    return CheckRun(
        id=new_id(), entry=entry, component="kernels.planted", due_at=due, started_at=due,
        ended_at=due, passed=True, evidence={}, worker="probe",
    )  # fmt: skip


def _failed_parent(needs: Sequence[str], current: Mapping[str, Standing]) -> str:
    for need in needs:
        if need in current and current[need].state in {State.FAILED, State.UNKNOWN}:
            return need
    return ""
