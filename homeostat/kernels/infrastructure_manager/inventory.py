"""What there is, measured now: host, processes, queues, broker, database, disk."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import psutil
from redis import RedisError
from sqlalchemy import text
from sqlalchemy.orm import Session

from homeostat.dispatch import QUEUES, REDIS_STEPS, redis_lists
from homeostat.errors import BrokerUnavailableError
from homeostat.settings import Settings
from homeostat.store import jobs
from homeostat.supervision import depths, poison
from homeostat.supervision.processes import (
    ProcessControlError,
    SupervisorProcesses,
    supervisor_socket,
)

#: (subject, name of the figure with its unit) → value.
Figures = dict[tuple[str, str], float]

#: A process that is younger still grows into its work, and says nothing about leaks, in seconds.
WARM_UP_S = 60.0


@dataclass(frozen=True)
class Inventory:
    """One look at everything; `unmeasured` says what could not be looked at, and why."""

    figures: Figures
    unmeasured: dict[str, str] = field(default_factory=dict)


def look(settings: Settings) -> Inventory:
    """Measure what needs no database session."""
    unmeasured: dict[str, str] = {}
    figures = _host(settings) | _processes(settings, unmeasured)
    figures |= _queues(settings, unmeasured)
    return Inventory(figures, unmeasured)


def _host(settings: Settings) -> Figures:
    host = f"host:{socket.gethostname()}"
    memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(settings.state_dir))
    return {
        (host, "memory_used_ratio"): 1 - memory.available / memory.total,
        (host, "memory_available_bytes"): memory.available,
        (host, "load_per_core"): os.getloadavg()[0] / (os.cpu_count() or 1),
        ("disk", "used_ratio"): disk.used / (disk.used + disk.free),
        ("disk", "free_bytes"): disk.free,
    }


def _processes(settings: Settings, unmeasured: dict[str, str]) -> Figures:
    figures: Figures = {}
    for name, process in _named_processes(settings, unmeasured):
        try:
            with process.oneshot():
                if time.time() - process.create_time() < WARM_UP_S:
                    continue
                figures[f"process:{name}:{process.pid}", "rss_bytes"] = process.memory_info().rss
                figures[f"process:{name}:{process.pid}", "open_files"] = process.num_fds()
        except psutil.Error:
            continue  # it ended between the list and the look
    return figures


def _named_processes(
    settings: Settings, unmeasured: dict[str, str]
) -> Iterator[tuple[str, psutil.Process]]:
    """Yield the stack's processes and their children; this process alone where no stack runs."""
    try:
        mains = SupervisorProcesses(supervisor_socket(settings)).processes()
    except (ProcessControlError, OSError) as error:
        unmeasured["stack"] = str(error)
        yield "this", psutil.Process()
        return
    for main in mains:
        if not main.running:
            continue
        try:
            process = psutil.Process(main.pid)
            children = process.children(recursive=True)
        except psutil.Error:
            continue
        yield main.name, process
        for child in children:
            yield f"{main.name}.child", child


def _queues(settings: Settings, unmeasured: dict[str, str]) -> Figures:
    figures: Figures = {}
    try:
        client = poison.connect(settings)
        start = time.perf_counter()
        client.ping()
        figures["broker", "ping_s"] = time.perf_counter() - start
        with client.pipeline(transaction=False) as pipe:
            for key in (key for queue in QUEUES for key in redis_lists(queue)):
                pipe.llen(key)
            lengths = pipe.execute()
    except poison.NoRedisBrokerError:
        return _queues_of_another_broker(unmeasured)
    except (RedisError, OSError) as error:
        unmeasured["queues"] = f"the broker does not answer: {error}"
        return figures
    steps = len(REDIS_STEPS)
    for number, queue in enumerate(QUEUES):
        figures[f"queue:{queue}", "depth"] = sum(lengths[number * steps : (number + 1) * steps])
    return figures


def _queues_of_another_broker(unmeasured: dict[str, str]) -> Figures:
    start = time.perf_counter()
    try:
        found = depths.ask()
    except BrokerUnavailableError as error:
        unmeasured["queues"] = f"the broker does not answer: {error}"
        return {}
    if found is None:
        unmeasured["queues"] = "only a worker can ask a broker that is no Redis"
        return {}
    figures: Figures = {(f"queue:{name}", "depth"): float(n) for name, n in found.items()}
    return {**figures, ("broker", "ping_s"): time.perf_counter() - start}


def of_database(session: Session, settings: Settings) -> Figures:
    """Measure the database: answer time, size, and how long each queue has kept a job waiting."""
    start = time.perf_counter()
    session.execute(text("SELECT 1"))
    figures: Figures = {("database", "ping_s"): time.perf_counter() - start}
    if settings.database.startswith("sqlite"):
        pages = session.execute(text("PRAGMA page_count")).scalar_one()
        size = session.execute(text("PRAGMA page_size")).scalar_one()
        figures["database", "size_bytes"] = float(pages) * float(size)
    else:
        size = session.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
        figures["database", "size_bytes"] = float(size)
    for queue, found in jobs.waiting(session).items():
        figures[f"queue:{queue}", "oldest_s"] = found.oldest_s
    return figures
