"""What the workers' events tell about who is alive and which task runs where.

Kept in memory by the observer, from the events that Flower reads as well. A killed worker cannot
say what it was doing; this can.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from typing import Any

#: Names of tasks received and not ended are remembered up to this many.
MOST_NAMES = 20_000
#: A worker beats every 2 s; a silence of this many seconds is a gap.
GAP_S = 15.0

_ENDS = frozenset({"task-succeeded", "task-failed", "task-retried", "task-rejected"})


class Witness:
    """Remembers, per node, the running tasks and the last sign of life. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: OrderedDict[str, str] = OrderedDict()
        self._running: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._last_seen: dict[str, float] = {}
        self._gaps: set[str] = set()

    def take_in(self, event: Mapping[str, Any]) -> None:
        """Take one event in."""
        kind, node, uuid = str(event["type"]), str(event["hostname"]), str(event.get("uuid", ""))
        with self._lock:
            if kind == "worker-offline":
                # It said goodbye: its silence from here on is no gap.
                self._last_seen.pop(node, None)
                return
            self._last_seen[node] = time.monotonic()
            self._gaps.discard(node)
            if kind == "task-received":
                self._names[uuid] = str(event.get("name"))
                while len(self._names) > MOST_NAMES:
                    self._names.popitem(last=False)
            elif kind == "task-started":
                self._running[node][uuid] = self._names.get(uuid, "a task that is not known")
            elif kind in _ENDS or kind == "task-revoked":
                self._running[node].pop(uuid, None)
                self._names.pop(uuid, None)

    def lost(self, node: str) -> list[str]:
        """Return the names of the tasks that ran on the node, and forget the node."""
        with self._lock:
            self._last_seen.pop(node, None)
            self._gaps.discard(node)
            return sorted(self._running.pop(node, {}).values())

    def new_gaps(self) -> dict[str, float]:
        """Return the nodes that fell silent, with for how many seconds; each silence once."""
        now = time.monotonic()
        with self._lock:
            silent = {
                node: now - seen
                for node, seen in self._last_seen.items()
                if now - seen > GAP_S and node not in self._gaps
            }
            self._gaps |= silent.keys()
        return silent

    def forget_times(self) -> None:
        """Start all silences anew: the observer itself had lost its connection."""
        with self._lock:
            now = time.monotonic()
            self._last_seen = dict.fromkeys(self._last_seen, now)
