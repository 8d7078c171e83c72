"""What the health monitor plants for its probe: a component in three states, and a missing tick."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.component import ComponentSpec
from homeostat.incidents import mutes
from homeostat.incidents.mutes import MuteKind
from homeostat.store import beat
from homeostat.store.beat import BeatEntry
from homeostat.store.checks import CheckRun, Lease
from homeostat.supervision import cadence
from homeostat.supervision.ledger import Account
from homeostat.supervision.state import standings


class Monitor(Protocol):
    """What is asked of the monitor under drill."""

    @property
    def spec(self) -> ComponentSpec:
        """Its declared facts."""

    def ledger(self, session: Session, start: datetime, end: datetime) -> dict[str, Account]:
        """Return the account of every checked entry."""


def planted_states(session: Session, monitor: Monitor, nonce: str) -> dict[str, JsonValue]:
    """Take a planted lease through three states, as the live standing sees them."""
    spec = monitor.spec.model_copy(update={"name": "planted", "needs": ()})
    name = spec.full_name
    now = utcnow()
    lease = Lease(
        component=name, tier=2, holder=nonce, probe_passed=True, evidence={},
        failures_in_row=0, successes_in_row=1, reason="",
    )  # fmt: skip

    def seen() -> JsonValue:
        return str(standings({name: spec}, {name: lease}, now)[name].state)

    states: list[JsonValue] = [seen()]
    lease.expires_at = now + timedelta(minutes=1)
    states.append(seen())
    lease.failures_in_row, lease.probe_passed = 1, False
    states.append(seen())
    planted = f"{nonce}.part"
    window = mutes.add(
        session, MuteKind.MAINTENANCE, f"{nonce}.*", ends_at=now + timedelta(minutes=1), actor=name
    )
    found = mutes.on_component(session, planted, utcnow())
    return {"seen": states, "window_mutes": found is not None and found.id == window.id}


def planted_gap(session: Session, monitor: Monitor, nonce: str) -> dict[str, JsonValue]:
    """Write the runs of four of five ticks, and hold the ledger to the one that is missing."""
    entry = BeatEntry(
        name=f"planted.{nonce}", task="checks.planted", interval_s=10.0, declared_s=10.0,
        kwargs={}, catch_up=False, source=beat.ADDED, since=cadence.EPOCH, changed_at=utcnow(),
    )  # fmt: skip
    session.add(entry)
    first = cadence.newest_due(entry.name, 10.0, utcnow() - timedelta(hours=1))
    for number in (0, 1, 3, 4):
        due = first + timedelta(seconds=10 * number)
        session.add(run_of(entry.name, due))
    session.flush()
    account = monitor.ledger(session, first, first + timedelta(seconds=50))[entry.name]
    return {"ran": account.run, "missed": account.missed, "expected": account.expected}


def run_of(entry: str, due: datetime) -> CheckRun:
    """Return the run of one tick, as a worker would have recorded it."""
    return CheckRun(
        id=new_id(), entry=entry, component="kernels.planted", due_at=due, started_at=due,
        ended_at=due, passed=True, evidence={}, worker="probe",
    )  # fmt: skip
