"""Our beat beside Celery's own: what fires, how late, and at what cost.

`python -m benchmarks.beat --entries 1000 --seconds 60 --json`

Both schedulers run the same timetable in the same run, one after the other, each on an embedded
server of its own. An independent consumer takes the messages from the queue and stamps their
arrival; nothing is taken from the scheduler's own account. What is expected follows from the
timetable: for ours the grid of `homeostat.supervision.cadence`, and for stock beat, which has no
fixed phase, the entry's own first message and one interval after another from there.

fired_ratio: expected ticks that arrived. doubled: messages beyond one a tick. lateness: arrival
minus due time. cpu_share: user and system time of the beat process by the operating system's
accounting, over the window, as a share of one core.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from redis import Redis

from homeostat.clock import from_iso
from homeostat.settings import Settings
from homeostat.store.embedded import EmbeddedServer
from homeostat.supervision import cadence
from workers.queues import CHECKS, redis_lists

INTERVAL_S = 5.0
#: A stock tick may come this much before its slot and still belong to it, in seconds.
TOLERANCE_S = 0.05
SCHEDULERS = {
    "homeostat": "benchmarks.beat_app:OurScheduler",
    "stock": "celery.beat:PersistentScheduler",
}
_TAKE = 2_000


class Arrival(NamedTuple):
    """One message: its entry, when it arrived, and the due time it names (ours only)."""

    entry: str
    at: float
    due: float | None


class Tally(NamedTuple):
    """What a list of arrivals amounts to."""

    expected: int
    fired: int
    doubled: int
    lateness: list[float]


@contextmanager
def running_beat(scheduler: str, state: Path, entries: int) -> Iterator[psutil.Process]:
    """Run `celery beat` with that scheduler, and stop it at the end."""
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HOMEOSTAT_")},
        "HOMEOSTAT_STATE_DIR": str(state),
        "BENCHMARK_ENTRIES": str(entries),
        "BENCHMARK_INTERVAL_S": str(INTERVAL_S),
    }
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.beat_app", "beat"]
    command += ["-S", SCHEDULERS[scheduler], "-s", str(state / "schedule"), "-l", "WARNING"]
    with (state / "beat.log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)


class Consumer:
    """Takes the messages from the queue as they arrive."""

    def __init__(self, settings: Settings) -> None:
        self._redis = Redis(unix_socket_path=str(settings.redis_socket))
        self._lists = redis_lists(CHECKS)
        self._taken: list[tuple[float, bytes]] = []

    def take(self, until: float) -> None:
        """Take until that moment (seconds since the epoch)."""
        while (rest := until - time.time()) > 0:
            wait = max(0.01, min(rest, 1.0))
            found: Any = self._redis.blmpop(
                wait, len(self._lists), *self._lists, direction="RIGHT", count=_TAKE
            )
            now = time.time()
            if found:
                self._taken += [(now, raw) for raw in found[1]]

    def await_first(self, timeout_s: float = 60.0) -> None:
        """Take until the first message has come; raises TimeoutError."""
        deadline = time.time() + timeout_s
        while not self._taken:
            if time.time() > deadline:
                raise TimeoutError(f"No message came within {timeout_s:.0f} s.")
            self.take(time.time() + 0.2)

    def arrivals(self) -> list[Arrival]:
        """Read the messages that were taken."""
        return [_arrival(at, raw) for at, raw in self._taken]


def _arrival(at: float, raw: bytes) -> Arrival:
    envelope = json.loads(raw)
    _args, kwargs, _embed = json.loads(base64.b64decode(envelope["body"]))
    due = from_iso(kwargs["due_at"]).timestamp() if "due_at" in kwargs else None
    return Arrival(envelope["headers"]["task"].removeprefix("checks."), at, due)


def by_grid(arrivals: list[Arrival], names: list[str], start: float, end: float) -> Tally:
    """Count against the grid that all of our processes share."""
    expected = {
        (name, due.timestamp())
        for name in names
        for due in cadence.due_between(
            name, INTERVAL_S, datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)
        )
    }
    first: dict[tuple[str, float], float] = {}
    doubled = 0
    for arrival in arrivals:
        tick = (arrival.entry, arrival.due or 0.0)
        if tick in first or (start <= tick[1] < end and tick not in expected):
            doubled += 1
        else:
            first[tick] = arrival.at
    fired = expected & first.keys()
    return Tally(len(expected), len(fired), doubled, [first[tick] - tick[1] for tick in fired])


def by_first(arrivals: list[Arrival], names: list[str], start: float, end: float) -> Tally:
    """Count against one tick an interval from each entry's own first message on."""
    times: dict[str, list[float]] = defaultdict(list)
    for arrival in arrivals:
        times[arrival.entry].append(arrival.at)
    expected = fired = doubled = 0
    lateness: list[float] = []
    for name in names:
        own = times.get(name) or [start]
        slots: dict[int, float] = {}
        for at in times.get(name, ()):
            slot = int((at - own[0] + TOLERANCE_S) // INTERVAL_S)
            due = own[0] + slot * INTERVAL_S
            if not start <= due < end:
                continue
            if slot in slots:
                doubled += 1
            else:
                slots[slot] = at - due
        expected += sum(
            start <= own[0] + slot * INTERVAL_S < end
            for slot in range(int((end - own[0]) // INTERVAL_S) + 1)
        )
        fired += len(slots)
        lateness += slots.values()
    return Tally(expected, fired, doubled, lateness)


def measure(scheduler: str, entries: int, seconds: float) -> dict[str, Any]:
    """Run one scheduler and return its figures."""
    with tempfile.TemporaryDirectory(prefix="beat-") as folder:
        state = Path(folder)
        settings = Settings(state_dir=state)
        with EmbeddedServer(settings), running_beat(scheduler, state, entries) as beat:
            consumer = Consumer(settings)
            consumer.await_first()
            # Stock beat's first round is a burst; the window begins when each entry has fired.
            consumer.take(time.time() + 2 * INTERVAL_S)
            start, before = time.time(), beat.cpu_times()
            consumer.take(start + seconds)
            end, after = time.time(), beat.cpu_times()
            memory = beat.memory_info().rss
            consumer.take(end + INTERVAL_S)
        arrivals = consumer.arrivals()
    names = [f"benchmark.n{number:05}" for number in range(entries)]
    count = by_grid if scheduler == "homeostat" else by_first
    tally = count(arrivals, names, start, end)
    cpu = after.user + after.system - before.user - before.system
    late = sorted(tally.lateness)
    return {
        "fired_ratio": round(tally.fired / tally.expected, 5) if tally.expected else 0.0,
        "expected": tally.expected,
        "fired": tally.fired,
        "doubled": tally.doubled,
        "lateness_p50_s": _quantile(late, 0.50),
        "lateness_p99_s": _quantile(late, 0.99),
        "lateness_max_s": round(late[-1], 4) if late else None,
        "cpu_share": round(cpu / (end - start), 4),
        "memory_mb": round(memory / 1e6, 1),
    }


def _quantile(values: list[float], share: float) -> float | None:
    return round(values[min(len(values) - 1, int(len(values) * share))], 4) if values else None


def main() -> None:
    """Measure both and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--entries", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", choices=sorted(SCHEDULERS))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    report: dict[str, Any] = {
        "entries": asked.entries,
        "seconds": asked.seconds,
        "interval_s": INTERVAL_S,
    }
    for name in [asked.only] if asked.only else list(SCHEDULERS):
        report[name] = measure(name, asked.entries, asked.seconds)
    if asked.json:
        print(json.dumps(report, indent=2))
        return
    for name in SCHEDULERS:
        if name in report:
            print(f"{name:10} " + "  ".join(f"{k} {v}" for k, v in report[name].items()))


if __name__ == "__main__":
    main()
