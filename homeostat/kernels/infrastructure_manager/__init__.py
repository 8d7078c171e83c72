"""Live inventory of hosts, processes, queues, broker, database and disk, and what it warns of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.errors import BrokerUnavailableError
from homeostat.kernels.infrastructure_manager import slopes
from homeostat.kernels.infrastructure_manager.inventory import Figures, look, of_database
from homeostat.store import figures
from homeostat.supervision.ports import Bus

_NAME = "kernels.infrastructure_manager"
#: The window in which a leak must show, and how long figures are kept.
LEAK_WINDOW, KEEP = timedelta(minutes=15), timedelta(hours=24)
#: Above these a resource is under pressure.
LIMITS: Mapping[str, float] = {
    "memory_used_ratio": 0.92,
    "load_per_core": 4.0,
    "used_ratio": 0.92,
    "ping_s": 1.0,
}
#: A queue deeper or older than this is a spike.
DEEPEST, OLDEST_S = 2_000.0, 120.0
#: A forecast is told where a resource ends within this, in seconds.
HORIZON_S = 3 * 3600.0


@dataclass(frozen=True)
class Notice:
    """One thing to tell: the topic, its payload, and the key that keeps its order."""

    topic: str
    payload: dict[str, JsonValue]
    key: str


class InfrastructureManager(Component):
    """Measures, keeps the figures, and tells of pressure, spikes, leaks and what will run out."""

    spec = ComponentSpec(
        name="infrastructure_manager",
        wing=Wing.KERNELS,
        tier=2,
        summary="Measures hosts, processes, queues and stores, and warns before they run out.",
        needs=("kernels.message_bus",),
        timeout_s=20.0,
    )

    def leaks(self, session: Session, now: datetime) -> dict[str, float]:
        """Return process → growth in bytes a minute, of those that leak."""
        since = now - LEAK_WINDOW
        found = {
            subject: slopes.leak_per_minute(figures.series(session, subject, "rss_bytes", since))
            for subject in figures.subjects(session, "rss_bytes", since)
        }
        return {subject: growth for subject, growth in found.items() if growth is not None}

    def warnings(self, session: Session, seen: Figures, now: datetime) -> list[Notice]:
        """Return what is to be told of these figures and their past."""
        told = [*_pressure(seen), *_spikes(seen)]
        for process, growth in self.leaks(session, now).items():
            payload: dict[str, JsonValue] = {
                "process": process, "role": _role(process), "bytes_per_minute": growth,
            }  # fmt: skip
            told.append(Notice("infrastructure.leak", payload, process))
        disk = figures.series(session, "disk", "used_ratio", now - timedelta(hours=1))
        left = slopes.exhausted_in_s(disk, 1.0)
        if left is not None and left < HORIZON_S:
            forecast: dict[str, JsonValue] = {"resource": "disk", "exhausted_in_s": left}
            told.append(Notice("infrastructure.forecast", forecast, "disk"))
        return told

    def probe(self, session: Session) -> Evidence:
        """Measure for real, keep and read back; see a planted leak, and none in a sawtooth."""
        watch = Stopwatch()
        seen = look(self.context.settings).figures
        nonce, now = new_id(), utcnow()
        undo = session.begin_nested()
        try:
            seen |= of_database(session, self.context.settings)
            self._plant(session, nonce, now)
            leaks = self.leaks(session, now)
            figures.record(session, now, {(f"probe:{nonce}", "value"): 42.0})
            kept = figures.series(session, f"probe:{nonce}", "value", now - timedelta(seconds=1))
        finally:
            undo.rollback()
        growing, sawing = f"process:leak-{nonce}:1", f"process:saw-{nonce}:1"
        alive = any(name == "rss_bytes" and value > 0 for (_, name), value in seen.items())
        measured = alive or ("broker", "ping_s") in seen
        free = seen.get(("disk", "free_bytes"), 0.0)
        return Evidence(
            claim="figures are measured and kept, a leak is seen, and a sawtooth is none",
            passed=measured
            and free > 0
            and seen.get(("database", "size_bytes"), 0) > 0
            and [value for _, value in kept] == [42.0]
            and growing in leaks
            and sawing not in leaks,
            observed={
                "nonce": nonce,
                "figures": len(seen),
                "disk_free_bytes": free,
                "database_bytes": seen.get(("database", "size_bytes")),
                "kept": [value for _, value in kept],
                "leak_seen_bytes_per_minute": leaks.get(growing),
                "sawtooth_taken_for_leak": sawing in leaks,
            },
            seconds=watch.seconds,
        )

    def _plant(self, session: Session, nonce: str, now: datetime) -> None:
        for number in range(21):
            at = now - timedelta(seconds=30 * (20 - number))
            noise = (number * 7919 % 11 - 5) * 100_000
            growing = 1e8 + 500_000 * number + noise
            sawing = 1e8 + 2_000_000 * (number % 6) + noise
            figures.record(
                session,
                at,
                {
                    (f"process:leak-{nonce}:1", "rss_bytes"): growing,
                    (f"process:saw-{nonce}:1", "rss_bytes"): sawing,
                },
            )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Measure, keep, warn, and forget what is old."""
        del due_at
        inventory = look(self.context.settings)
        now = utcnow()
        seen = inventory.figures | of_database(session, self.context.settings)
        figures.record(session, now, seen)
        forgotten = figures.forget(session, now - KEEP)
        told = self.warnings(session, seen, now)
        for warning in told:
            self._tell(warning)
        unmeasured: dict[str, JsonValue] = dict(inventory.unmeasured)
        return CycleResult(
            work=len(seen),
            observed={
                "figures": len(seen),
                "warnings": [f"{one.topic} {one.key}" for one in told],
                "unmeasured": unmeasured,
                "forgotten": forgotten,
            },
        )

    def _tell(self, warning: Notice) -> None:
        bus: Bus = self.need("kernels.message_bus")
        try:
            bus.publish(warning.topic, warning.payload, publisher=_NAME, key=warning.key)
        except BrokerUnavailableError:
            return  # the figures are kept; the next cycle warns again where it still holds


def _role(process: str) -> str:
    """Return the stack's name of a process or of its parent: `process:worker.child:7` → worker."""
    return process.split(":")[1].split(".", maxsplit=1)[0]


def _pressure(seen: Figures) -> list[Notice]:
    found = []
    for (subject, name), value in seen.items():
        limit = LIMITS.get(name)
        if limit is not None and value > limit:
            resource = f"{subject} {name}"
            payload: dict[str, JsonValue] = {"resource": resource, "value": value, "limit": limit}
            found.append(Notice("infrastructure.pressure", payload, resource))
    return found


def _spikes(seen: Figures) -> list[Notice]:
    found = []
    for subject in sorted({one for one, _ in seen if one.startswith("queue:")}):
        depth, oldest = seen.get((subject, "depth"), 0.0), seen.get((subject, "oldest_s"), 0.0)
        if depth > DEEPEST or oldest > OLDEST_S:
            queue = subject.removeprefix("queue:")
            payload: dict[str, JsonValue] = {"queue": queue, "depth": depth, "oldest_s": oldest}
            found.append(Notice("infrastructure.queue_spike", payload, queue))
    return found
