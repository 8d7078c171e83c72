"""The steady-state hypothesis: what must hold before a fault and hold again after it.

It is about what users of the system get, measured from outside: every process is there, the
broker answers a client that does not retry, the beat ticks, and a job asked for now has its
effect within seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import select

from homeostat.chaos.ground import Ground, stopped
from homeostat.chaos.load import PROBE_PRIORITY, Load
from homeostat.chaos.scenario import Proof
from homeostat.clock import utcnow
from homeostat.errors import StoreUnavailableError
from homeostat.store import effects
from homeostat.store.beat import BeatEntry
from homeostat.store.checks import CheckRun
from homeostat.store.database import reading

#: A broker that answers later than this does not answer, in seconds.
BROKER_TIMEOUT_S = 0.5
#: What stands for a beat that has not ticked yet, or whose ticks cannot be read.
_NEVER = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


@dataclass
class SteadyState:
    """Looks again and again until everything holds at once.

    One probe job is under way at a time; it counts when it was submitted after `since`.
    """

    ground: Ground
    load: Load
    since: datetime
    again: int = 0
    _key: str = ""
    _effect_at: datetime | None = None

    def look(self) -> Proof:
        """Look once, and say what does not hold."""
        pids = self.ground.pids()
        missing = sorted(self.ground.names() - pids.keys())
        held = sorted(name for name, pid in pids.items() if stopped(pid))
        broker = broker_answers(self.ground)
        ticked = _last_tick()
        effect = self._probe_job()
        problems = [f"{name} does not run" for name in missing or ([] if pids else ["everything"])]
        problems += [f"{name} is stopped" for name in held]
        problems += [] if broker else ["the broker does not answer"]
        problems += [] if ticked > self.since else ["the beat has not ticked since"]
        problems += [] if effect else ["a job asked for since has had no effect yet"]
        return Proof(
            claim="every process runs, the broker answers, the beat ticks, a job has its effect",
            held=not problems,
            observed={"problems": list(problems), "processes": dict(sorted(pids.items()))},
            at=utcnow(),
        )

    def ask_again(self) -> None:
        """Ask for another probe job, where the first one was lost before any fault."""
        self.again += 1
        self._key = ""

    def _probe_job(self) -> bool:
        if self._effect_at is not None:
            return True
        if not self._key:
            self._key, _ = self.load.submit(priority=PROBE_PRIORITY)
        try:
            with reading() as session:
                if effects.counts(session, [self._key]):
                    self._effect_at = utcnow()
        except StoreUnavailableError:
            return False
        return self._effect_at is not None


def broker_answers(ground: Ground) -> bool:
    """Return whether the Redis server answers a client that neither waits nor retries.

    A stack on another broker answers by its effects alone.
    """
    if not ground.settings.redis.startswith(("unix://", "redis")):
        return True
    client = Redis.from_url(
        ground.settings.redis,
        socket_timeout=BROKER_TIMEOUT_S,
        socket_connect_timeout=BROKER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        return bool(client.ping())
    except (RedisError, OSError):
        return False
    finally:
        client.close()


def _last_tick() -> datetime:
    """Return when the newest tick of the timetable was due that a worker has recorded.

    A check that a person or the run itself asked for says nothing of the beat.
    """
    of_the_timetable = CheckRun.entry.in_(select(BeatEntry.name))
    newest = select(CheckRun.due_at).where(of_the_timetable).order_by(CheckRun.due_at.desc())
    try:
        with reading() as session:
            return session.scalar(newest.limit(1)) or _NEVER
    except StoreUnavailableError:
        return _NEVER
