"""How each target of `trading.self_healing` is measured."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
from pydantic import JsonValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.clock import new_id
from homeostat.component import Stopwatch
from homeostat.errors import MarketDataError
from homeostat.settings import Settings
from homeostat.store import checks, controls
from homeostat.store import trading as store
from homeostat.store.trading import DecisionCycle, ModelRecord, Order, Reservation
from homeostat.trading.market import port

#: The switch that the venue sets for all workers while it has banned us.
VENUE_BANNED = "venue.banned"
#: A shorter wait that the venue asks for passes before the next decision, in seconds.
LONG_WAIT_S = 30.0
#: Failed checks in a row from which a subsystem is no longer critical but failed.
FAILED_AFTER = 3
#: Ages in seconds until which a feed or a loop is healthy, degraded, critical; then failed.
FEED_AGES = (port.FRESH_S, 300.0, 600.0)
CYCLE_AGES = (180.0, 300.0)
#: Shares of symbols standing still from which the feed is degraded, and critical.
STILL_SHARES = (0.2, 0.5)
#: Seconds for a row written and read back.
WRITE_SECONDS = (0.5, 2.0)
LEAST_DISK = 100 * 2**20
#: Risk reserved as a share of equity that the balancer never exceeds.
MOST_RISK = 0.15


class Level(StrEnum):
    """From best to worst; unknown is worse than degraded, because it may hide anything."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"
    CRITICAL = "critical"
    FAILED = "failed"


_RANK = {level: place for place, level in enumerate(Level)}


@dataclass(frozen=True)
class Reading:
    """One target's level and what was seen; `subject` names what a remedy would act on."""

    level: Level
    reason: str
    subject: str = ""

    def as_json(self) -> dict[str, JsonValue]:
        """Return the reading for the store."""
        return {"level": self.level.value, "reason": self.reason}


@dataclass(frozen=True)
class Ground:
    """What a reading is taken from."""

    settings: Settings
    session: Session
    now: datetime


def graded(value: float, bounds: tuple[float, ...]) -> Level:
    """Return healthy up to the first bound, then degraded, critical, failed."""
    ladder = (Level.HEALTHY, Level.DEGRADED, Level.CRITICAL, Level.FAILED)
    return ladder[sum(value > bound for bound in bounds)]


def data_feed(ground: Ground) -> Reading:
    """Read the newest price's age and how many symbols stand still."""
    try:
        panel = port.market(ground.settings).panel(ground.now, 30)
    except MarketDataError as error:
        return Reading(Level.FAILED, str(error))
    if not panel.symbols:
        return Reading(Level.FAILED, "the feed has told of no symbol yet")
    age = port.age_s(panel, ground.now)
    still = float((~(np.ptp(panel.close, axis=1) > 0)).mean())
    by_still = (Level.HEALTHY, Level.DEGRADED, Level.CRITICAL)[sum(still > s for s in STILL_SHARES)]
    level = max(graded(age, FEED_AGES), by_still, key=list(Level).index)
    return Reading(level, f"newest bar closed {age:.0f} s ago, {still:.0%} of symbols stand still")


def exchange_connection(ground: Ground) -> Reading:
    """Read whether the venue answers us, has banned us, and whether an order's fate is unknown."""
    if controls.is_on(ground.session, VENUE_BANNED):
        return Reading(Level.CRITICAL, "the venue has banned us for a while")
    statement = select(func.count()).select_from(Order).where(Order.state == "UNKNOWN")
    unknown = int(ground.session.scalar(statement) or 0)
    level = Level.DEGRADED if unknown else Level.HEALTHY
    found = Reading(level, f"{unknown} orders of unknown outcome")
    outside = _outside_venue(ground)
    return found if outside is None else max(found, outside, key=lambda one: _RANK[one.level])


def _outside_venue(ground: Ground) -> Reading | None:
    """Read the circuit and the wait that all workers share; None on paper and where all is well."""
    if not ground.settings.trades_outside:
        return None
    from homeostat.trading.venue import choice

    standing = choice.guard(ground.settings).standing()
    wait = standing.wait_until - ground.now.timestamp()
    if standing.circuit != "closed":
        return Reading(Level.CRITICAL, f"the circuit to the venue is {standing.circuit}")
    if wait > 0:
        level = Level.CRITICAL if wait > LONG_WAIT_S else Level.DEGRADED
        return Reading(level, f"the venue makes us wait another {wait:.0f} s")
    return None


def ai_model(ground: Ground) -> Reading:
    """Read whether the models in service are whole, and whether any gave signals of late."""
    for alias in ground.session.scalars(select(store.ModelAlias)):
        artifact = ground.session.get_one(store.ModelArtifact, alias.artifact_id)
        if hashlib.sha256(artifact.content).hexdigest() != artifact.sha256:
            return Reading(
                Level.CRITICAL, f"the artefact of {alias.name} is corrupt", subject=alias.name
            )
    # The canary speaks for the flow, and not for a model.
    real = select(ModelRecord).where(ModelRecord.model != store.CANARY)
    records = ground.session.scalars(real).all()
    if not records:
        return Reading(Level.UNKNOWN, "no model has given a signal yet")
    age = (ground.now - max(record.updated_at for record in records)).total_seconds()
    level = Level.HEALTHY if age <= CYCLE_AGES[0] else Level.DEGRADED
    return Reading(level, f"{len(records)} models, the last signal {age:.0f} s ago")


def event_executor(ground: Ground) -> Reading:
    """Read when the trade flow last ran."""
    statement = select(func.max(DecisionCycle.id)).where(DecisionCycle.book == store.PAPER)
    last = ground.session.get(DecisionCycle, ground.session.scalar(statement) or "")
    if last is None:
        return Reading(Level.UNKNOWN, "the trade flow has not run yet")
    age = (ground.now - last.due_at).total_seconds()
    return Reading(graded(age, CYCLE_AGES), f"the trade flow ran {age:.0f} s ago")


def orchestrator(ground: Ground) -> Reading:
    """Read the coordinator's lease and whether its directive is in force."""
    reading = lease_of("trading.ai_hfos")(ground)
    directive = store.latest_directive(ground.session)
    if reading.level is not Level.HEALTHY or directive is None:
        return reading
    if directive.expires_at <= ground.now:
        return Reading(Level.CRITICAL, f"directive {directive.version} has expired")
    return Reading(Level.HEALTHY, f"directive {directive.version} is in force")


def risk_guard(ground: Ground) -> Reading:
    """Read governance's lease, and whether the reserved risk is within its limit."""
    statement = select(func.sum(Reservation.risk)).where(
        Reservation.book == store.PAPER, Reservation.state == "HELD"
    )
    risk = float(ground.session.scalar(statement) or 0.0)
    equity = store.book_of(ground.session, store.PAPER).equity
    # Equity may fall after a reservation, so a hair over the limit is no violation of it.
    if not risk <= MOST_RISK * equity * 1.1:
        return Reading(Level.CRITICAL, f"{risk:.0f} at risk of {equity:.0f}")
    reading = lease_of("kernels.governance")(ground)
    return Reading(reading.level, f"{reading.reason}; {risk / equity:.1%} of equity at risk")


def database(ground: Ground) -> Reading:
    """Write a row, read it back from the database, and take it away again."""
    watch = Stopwatch()
    name = f"probe.{new_id()[-8:]}"
    savepoint = ground.session.begin_nested()
    controls.set_on(ground.session, name, actor="trading.self_healing", reason="read back")
    ground.session.expire_all()
    found = controls.is_on(ground.session, name)
    savepoint.rollback()
    if not found:
        return Reading(Level.FAILED, "a row that was written was not found")
    level = graded(watch.seconds, WRITE_SECONDS)
    return Reading(level, f"a row was written and read back in {1000 * watch.seconds:.0f} ms")


def logging(ground: Ground) -> Reading:
    """Append a line where the logs go, read it back, and see that the disk has room."""
    folder = ground.settings.ensure_state_dir()
    free = shutil.disk_usage(folder).free
    path = folder / f"log-probe.{os.getpid()}"
    mark = new_id()
    path.write_text(mark, encoding="utf-8")
    found = path.read_text(encoding="utf-8") == mark
    path.unlink()
    if not found:
        return Reading(Level.FAILED, "a line that was written was not found")
    level = Level.HEALTHY if free >= LEAST_DISK else Level.DEGRADED
    return Reading(level, f"a line was read back; {free // 2**20} MB are free")


def lease_of(component: str) -> Callable[[Ground], Reading]:
    """Return the reading of a component by its lease."""

    def read(ground: Ground) -> Reading:
        lease = ground.session.get(checks.Lease, component)
        if lease is None or (lease.expires_at is None and not lease.failures_in_row):
            return Reading(Level.UNKNOWN, f"{component} has not passed a check yet")
        if lease.failures_in_row and not lease.probe_passed:
            level = Level.FAILED if lease.failures_in_row >= FAILED_AFTER else Level.CRITICAL
            return Reading(level, f"{lease.failures_in_row} failed checks: {lease.reason}")
        if lease.expires_at is None or lease.expires_at <= ground.now:
            return Reading(Level.UNKNOWN, f"the lease of {component} ran out")
        if lease.failures_in_row:
            return Reading(Level.DEGRADED, f"{lease.failures_in_row} failures: {lease.reason}")
        return Reading(Level.HEALTHY, f"{component} passed its last check")

    return read
