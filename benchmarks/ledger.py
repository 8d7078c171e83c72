"""Loss and doubling under faults: every promised effect once, or it is counted here.

`python -m benchmarks.ledger --fault kill_main --tasks 2000 --json`

A producer asks for short tasks at a steady rate and writes down each one it was promised (its
job row was committed; what is refused is asked for again). Real prefork workers run them under a
supervising parent, while the fault is injected again and again, each time when another share of
the effects was seen, so that it hits a system at work. In the end the list of promises is
compared with the ledger of effects in the database.

lost: promised, without an effect, and its message is gone. stranded: promised, without an effect,
and its message still lies in the broker. doubled: effects beyond one a task. faults: those seen
to have happened. drained_s: from the last promise to the last effect. `--recovery off` switches
off what prevents the loss (late acknowledgement, retries of a lost worker's task, the job rows,
the sweeper), as stock defaults have it: the same run must then lose something, or it proves
nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path

from pydantic import JsonValue

from benchmarks.stack import PostgresServer, Stack, wait_for
from homeostat.errors import BrokerUnavailableError, StoreUnavailableError
from homeostat.settings import settings
from homeostat.store import database, effects, jobs
from homeostat.store.database import reading, transaction
from workers.control import install_dispatcher
from workers.dispatch import CeleryDispatcher, send_jobs
from workers.queues import CHAOS

FAULTS = ("kill_main", "kill_child", "broker_kill", "broker_flush", "database_restart", "none")
#: All that a process and a broker can suffer, in turn.
MIXED = "mixed"
#: How often each fault is injected in a run of 2,000 tasks.
TIMES = {"kill_main": 8, "kill_child": 20, "broker_kill": 3, "broker_flush": 3,
         "database_restart": 3, "none": 0, MIXED: 6}  # fmt: skip
#: The work of a task, in seconds.
WORK_S = 0.02
#: How long a producer rests before it asks again, in seconds.
ASK_AGAIN_S = 0.5
#: With recovery, a new effect must be seen within this, in seconds, whatever was broken.
MOST_STILL_S = 120.0
#: Without a new effect for so long, a run without recovery is over, in seconds.
QUIET_S = 12.0


@dataclass
class Outcome:
    """What became of the promises."""

    fault: str
    recovery: bool
    database: str
    tasks: int
    promised: int = 0
    refused: int = 0
    faults: int = 0
    lost: int = 0
    doubled: int = 0
    stranded: int = 0
    quarantined: int = 0
    drained_s: float | None = None
    resent: int = 0
    restarts: dict[str, int] = field(default_factory=dict)


class Ledger:
    """One run: the producer, the faults, and the count at the end."""

    def __init__(self, stack: Stack, outcome: Outcome, rate: float) -> None:
        self._stack = stack
        self._rate = rate
        self.outcome = outcome
        self._promised: list[str] = []
        self._last_promise = 0.0
        self._dispatcher: CeleryDispatcher = install_dispatcher()

    def produce(self) -> None:
        """Ask for the tasks, at the rate, and write down the promises."""
        begin = time.monotonic()
        for number in range(self.outcome.tasks):
            time.sleep(max(0.0, begin + number / self._rate - time.monotonic()))
            key = f"ledger-{number:06}"
            kept = self._ask_for(key)
            # A client asks again after a plain no; the natural key makes that safe.
            while not kept and self.outcome.recovery:
                self.outcome.refused += 1
                time.sleep(ASK_AGAIN_S)
                kept = self._ask_for(key)
            if kept:
                self._promised.append(key)
            else:
                self.outcome.refused += 1
        self._last_promise = time.monotonic()

    def _ask_for(self, key: str) -> bool:
        arguments: dict[str, JsonValue] = {"key": key, "work_s": WORK_S}
        try:
            if not self.outcome.recovery:
                self._dispatcher.send("stress.effect", arguments, queue=CHAOS)
                return True
            with transaction() as session:
                jobs.enqueue(session, "stress.effect", arguments, queue=CHAOS, natural_key=key)
        except (BrokerUnavailableError, StoreUnavailableError):
            return False
        # The row is committed: what cannot be sent now, the sweeper sends.
        with suppress(StoreUnavailableError):
            send_jobs(self._dispatcher, session.info.get("jobs_to_send", ()))
        return True

    def done(self) -> int:
        """Return how many effects there are; 0 while the database is away."""
        try:
            with reading() as session:
                return sum(effects.counts(session, self._promised).values())
        except StoreUnavailableError:
            return 0

    def inject(self, actions: list[Callable[[], bool]], times: int) -> None:
        """Inject the faults in turn, spread over the work: each when its share of it is done."""
        turns = cycle(actions)
        while self.outcome.faults < times:
            share = (self.outcome.faults + 1) / (times + 1)
            if not self._reaches(int(self.outcome.tasks * share)) or self._all_done():
                return
            self.outcome.faults += next(turns)()

    def _reaches(self, wanted: int) -> bool:
        """Wait for so many effects; False where, without recovery, nothing moves any more."""
        patience_s = MOST_STILL_S if self.outcome.recovery else QUIET_S
        while not (self.done() >= wanted or self._all_done()):
            seen = self.done()
            try:
                wait_for(partial(self._moved, seen), "a new effect", patience_s)
            except TimeoutError:
                if self.outcome.recovery:
                    raise
                return False
        return True

    def _moved(self, seen: int) -> bool:
        return self.done() > seen or self._all_done()

    def _all_done(self) -> bool:
        return bool(self._last_promise) and self.done() >= len(self._promised)

    def drain(self, patience_s: float) -> None:
        """Wait until every promise is kept, or nothing moves any more."""
        deadline = time.monotonic() + patience_s
        seen, moved = self.done(), time.monotonic()
        while seen < len(self._promised) and time.monotonic() < deadline:
            time.sleep(0.2)
            now = self.done()
            if now > seen:
                seen, moved = now, time.monotonic()
            elif not self.outcome.recovery and time.monotonic() - moved > QUIET_S:
                break
        if seen >= len(self._promised):
            self.outcome.drained_s = round(max(0.0, moved - self._last_promise), 2)

    def count(self) -> None:
        """Compare the promises with the ledger."""
        with reading() as session:
            found = effects.counts(session, self._promised)
            rows = session.query(jobs.Job.sends).filter(jobs.Job.task == "stress.effect").all()
            states = jobs.counts(session)
        missing = [key for key in self._promised if key not in found]
        held = self._stack.texts() if missing else ""
        stranded = sum(key in held for key in missing)
        self.outcome.promised = len(self._promised)
        self.outcome.stranded = stranded
        self.outcome.lost = len(missing) - stranded
        self.outcome.doubled = sum(count - 1 for count in found.values())
        self.outcome.resent = sum(max(0, row.sends - 1) for row in rows)
        self.outcome.quarantined = states.get(jobs.JobState.QUARANTINED, 0)
        self.outcome.restarts = dict(self._stack.restarts)


@contextmanager
def at_home(stack: Stack) -> Iterator[None]:
    """Make this process read the stack's settings."""
    names = {name: value for name, value in stack.env.items() if name.startswith("HOMEOSTAT_")}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    settings.cache_clear()
    try:
        yield
    finally:
        database.engine().dispose()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
        settings.cache_clear()


def run(
    fault: str,
    *,
    tasks: int = 2_000,
    rate: float = 100.0,
    times: int | None = None,
    recovery: bool = True,
    patience_s: float = 240.0,
) -> Outcome:
    """Run the ledger under one fault; raises FileNotFoundError where a server is missing."""
    with ExitStack() as open_things:
        folder = Path(open_things.enter_context(tempfile.TemporaryDirectory(prefix="ledger-")))
        server = None
        if fault == "database_restart":
            server = open_things.enter_context(PostgresServer(folder))
        stack = Stack(folder / "var", recovery=recovery, database=server.url if server else "")
        open_things.enter_context(at_home(stack))
        database.migrate()
        open_things.enter_context(stack)
        outcome = Outcome(fault, recovery, "postgresql" if server else "sqlite", tasks)
        ledger = Ledger(stack, outcome, rate)
        producer = threading.Thread(target=ledger.produce, daemon=True)
        producer.start()
        wanted = round(TIMES[fault] * tasks / 2_000) or bool(TIMES[fault])
        ledger.inject(_actions(fault, stack, server), wanted if times is None else times)
        producer.join()
        ledger.drain(patience_s)
        ledger.count()
    return outcome


def _actions(fault: str, stack: Stack, server: PostgresServer | None) -> list[Callable[[], bool]]:
    if fault == MIXED:
        return [stack.kill_main, stack.kill_child, stack.flush_broker]
    if fault == "database_restart" and server is not None:
        return [server.restart]
    actions = {
        "kill_main": stack.kill_main,
        "kill_child": stack.kill_child,
        "broker_kill": stack.kill_broker,
        "broker_flush": stack.flush_broker,
    }
    return [actions[fault]] if fault in actions else []


def main() -> None:
    """Run and print what became of the promises; exits 1 where recovery lost or doubled one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fault", choices=[*FAULTS, MIXED], default="none")
    parser.add_argument("--tasks", type=int, default=2_000)
    parser.add_argument("--rate", type=float, default=100.0, help="tasks asked for a second")
    parser.add_argument("--times", type=int, help="faults injected; by default as many as fit")
    parser.add_argument("--recovery", choices=["on", "off"], default="on")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    try:
        outcome = run(
            asked.fault,
            tasks=asked.tasks,
            rate=asked.rate,
            times=asked.times,
            recovery=asked.recovery == "on",
        )
    except FileNotFoundError as error:
        sys.exit(f"This fault cannot be injected here: {error}.")
    row = asdict(outcome)
    print(
        json.dumps(row, indent=2) if asked.json else "  ".join(f"{k} {v}" for k, v in row.items())
    )
    if outcome.recovery and (outcome.lost or outcome.doubled or outcome.stranded):
        sys.exit(1)


if __name__ == "__main__":
    main()
