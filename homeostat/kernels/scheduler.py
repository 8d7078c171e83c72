"""Owns the beat: knows the active one, sees it fail over, and changes intervals while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.errors import BrokerUnavailableError, HomeostatError
from homeostat.store import beat
from homeostat.store.beat import BeatEntry, BeatLock
from homeostat.supervision import cadence, events
from homeostat.supervision.events import undone
from homeostat.supervision.ports import Bus

_NAME = "kernels.scheduler"
#: No check may come more often than this, in seconds: the house must not beat itself to death.
SHORTEST_INTERVAL_S = 1.0
#: What the active beat has sent may lie this far behind the present, in seconds.
MOST_BEHIND_S = 10.0


class BeatBehindError(HomeostatError):
    """The active beat holds its lock and sends nothing; restart it with `homeostat up`."""


@dataclass(frozen=True)
class BeatStatus:
    """The beat as its lock tells it; `behind_s` is how old the newest tick it sent is."""

    active: bool
    holder: str
    token: int
    behind_s: float | None


class SchedulerKernel(Component):
    """The actor behind `workers.beat`."""

    spec = ComponentSpec(
        name="scheduler",
        wing=Wing.KERNELS,
        tier=2,
        summary="Owns the beat: one active at a time, every due tick sent, intervals changeable.",
        needs=("kernels.message_bus",),
        timeout_s=10.0,
    )

    def status(self, session: Session, now: datetime | None = None) -> BeatStatus:
        """Return who beats and how far it has sent; inactive where no lock is held."""
        lock = beat.lock_of(session)
        now = now or utcnow()
        active = bool(lock.holder) and lock.expires_at is not None and lock.expires_at > now
        behind = (now - lock.sent_until).total_seconds() if lock.sent_until else None
        return BeatStatus(active, lock.holder if active else "", lock.token, behind)

    def set_interval(
        self, session: Session, entry: str, interval_s: float, *, actor: str
    ) -> BeatEntry:
        """Change an entry's interval; the running beat takes it up within seconds.

        Raises UnknownEntryError, and ValueError below one second.
        """
        if interval_s < SHORTEST_INTERVAL_S:
            raise ValueError(f"An interval below {SHORTEST_INTERVAL_S} s is refused.")
        row = beat.set_interval(session, entry, interval_s)
        session.flush()
        payload: dict[str, JsonValue] = {
            "entry": entry, "interval_s": interval_s, "actor": actor,
        }  # fmt: skip
        events.tell(session, "scheduler.changed", payload, publisher=_NAME, key=entry)
        return row

    def due(self, session: Session, start: datetime, end: datetime) -> dict[str, list[datetime]]:
        """Return the due times in [start, end) of every entry in force."""
        return {
            row.name: list(cadence.due_between(row.name, row.interval_s, start, end))
            for row in beat.timetable(session)
        }

    def probe(self, session: Session) -> Evidence:
        """Contend for the beat's lock as two rivals, change an interval, and undo it all.

        Where a real beat is active, it must also have sent what was due.
        """
        watch = Stopwatch()
        nonce = new_id()
        status = self.status(session)
        with undone(session):
            observed = self._contend(session, nonce) | self._change(session, nonce)
        afterwards = self.status(session)
        keeps_up = not status.active or (
            status.behind_s is not None and status.behind_s < MOST_BEHIND_S
        )
        expected: dict[str, JsonValue] = {
            "first_holds": True,
            "second_is_refused": True,
            "status_names_the_first": True,
            "heir_takes_over": True,
            "dead_one_is_fenced": True,
            "ticks_in_a_minute": 6,
            "ticks_after_change": 12,
        }
        return Evidence(
            claim="one beat at a time with failover, and changed intervals change what is due",
            passed=all(observed[name] == value for name, value in expected.items())
            and keeps_up
            and afterwards.holder == status.holder,
            observed={
                "nonce": nonce,
                "active": status.active,
                "holder": status.holder,
                "behind_s": status.behind_s,
                **observed,
            },
            seconds=watch.seconds,
        )

    def _contend(self, session: Session, nonce: str) -> dict[str, JsonValue]:
        ttl = timedelta(seconds=30)
        lock: BeatLock = beat.lock_of(session)
        lock.holder, lock.expires_at = "", None
        session.flush()
        first = beat.take(session, f"first-{nonce}", ttl)
        second = beat.take(session, f"second-{nonce}", ttl)
        session.flush()
        seen = self.status(session)
        beat.lock_of(session).expires_at = utcnow() - timedelta(seconds=1)
        session.flush()
        heir = beat.take(session, f"heir-{nonce}", ttl)
        session.flush()
        fenced = first is not None and not beat.renew(session, first, ttl, None)
        return {
            "first_holds": first is not None,
            "second_is_refused": second is None,
            "status_names_the_first": seen.active and seen.holder == f"first-{nonce}",
            "heir_takes_over": heir is not None and first is not None and heir.token > first.token,
            "dead_one_is_fenced": fenced,
        }

    def _change(self, session: Session, nonce: str) -> dict[str, JsonValue]:
        name = f"probe.{nonce}"
        row = BeatEntry(
            name=name, task="checks.probe", interval_s=10.0, declared_s=10.0, kwargs={},
            catch_up=False, source=beat.ADDED, since=utcnow(), changed_at=utcnow(),
        )  # fmt: skip
        session.add(row)
        session.flush()
        start = utcnow()
        end = start + timedelta(minutes=1)
        before = len(self.due(session, start, end)[name])
        beat.set_interval(session, name, 5.0)
        session.flush()
        return {
            "ticks_in_a_minute": before,
            "ticks_after_change": len(self.due(session, start, end)[name]),
        }

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Look at the beat; raises BeatBehindError where it holds its lock and sends nothing."""
        del due_at
        status = self.status(session)
        if not status.active and status.behind_s is not None:
            self._tell_lost(status.behind_s)
        if status.active and (status.behind_s is None or status.behind_s > MOST_BEHIND_S):
            raise BeatBehindError(
                f"The beat {status.holder} holds its lock and is {status.behind_s or 0:.0f} s "
                "behind; restart it."
            )
        entries = len(beat.timetable(session))
        return CycleResult(
            work=1,
            observed={
                "active": status.active,
                "holder": status.holder,
                "token": status.token,
                "behind_s": status.behind_s,
                "entries": entries,
            },
        )

    def _tell_lost(self, silent_s: float) -> None:
        bus: Bus = self.need("kernels.message_bus")
        try:
            bus.publish("scheduler.beat_lost", {"silent_s": silent_s}, publisher=_NAME)
        except BrokerUnavailableError:
            return
