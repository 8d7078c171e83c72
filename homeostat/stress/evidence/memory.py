"""Memory per process over time, sampled from outside; a leak is a slope, not a level."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import psutil

from homeostat.chaos.ground import Ground
from homeostat.stress.facts import MemoryRow, Point

EVERY_S = 1.0
#: A process that was seen for less than this has no slope worth the name, in seconds.
SHORTEST_S = 20.0
#: The first part of a process's life is imports and caches, not a leak.
WARM_UP_S = 10.0
#: A leak grows by at least this much over the samples, in MB, and by at least this slope. An idle
#: prefork child was seen to wander by 1 to 3 MB.
LEAK_MB = 8.0
LEAK_MB_PER_MIN = 4.0
MEGABYTE = 1_000_000


@dataclass
class Track:
    """The samples of one pid."""

    role: str
    pid: int
    points: list[Point] = field(default_factory=list)


class MemorySampler:
    """Samples every process of the stack once a second from a thread of its own."""

    def __init__(self, ground: Ground, also: Callable[[float], None] = lambda _t: None) -> None:
        self._ground = ground
        self._also = also
        self._tracks: dict[int, Track] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        """Start sampling."""
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop sampling."""
        self._stop.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            t = time.monotonic() - self._began
            for name, pid in self._ground.pids().items():
                self._sample(name, pid, t)
                for child in self._ground.children_of(pid):
                    self._sample(f"{name} child", child, t)
            self._also(t)

    def _sample(self, role: str, pid: int, t: float) -> None:
        try:
            resident = psutil.Process(pid).memory_info().rss
        except psutil.Error:
            return
        track = self._tracks.setdefault(pid, Track(role, pid))
        track.points.append(Point(t=round(t, 1), value=round(resident / MEGABYTE, 2)))

    def rows(self) -> list[MemoryRow]:
        """Return one row per process that was seen more than once."""
        tracks = sorted(self._tracks.values(), key=lambda track: (track.role, track.pid))
        return [row(track, self._level_before(track)) for track in tracks if len(track.points) > 1]

    def _level_before(self, track: Track) -> float:
        """Return the highest level of the role's processes that were there before this one."""
        earlier = [
            point.value
            for other in self._tracks.values()
            if other.role == track.role and other.points[0].t < track.points[0].t
            for point in other.points
        ]
        return max(earlier, default=0.0)


def row(track: Track, level_before: float = 0.0) -> MemoryRow:
    """Judge one process's samples.

    A new process that has only grown to `level_before`, the level of those that it replaces, has
    loaded what they had loaded.
    """
    points = track.points
    seconds = points[-1].t - points[0].t
    settled = [point for point in points if point.t - points[0].t >= WARM_UP_S]
    slope = leaking = None
    if seconds >= SHORTEST_S and len(settled) > 5:
        slope = round(theil_sen(settled) * 60, 3)
        beyond = settled[-1].value > level_before + LEAK_MB
        leaking = slope > LEAK_MB_PER_MIN and beyond and _keeps_growing(settled)
    return MemoryRow(
        process=f"{track.role} ({track.pid})",
        role=track.role,
        samples=len(points),
        seconds=round(seconds, 1),
        first_mb=points[0].value,
        last_mb=points[-1].value,
        peak_mb=max(point.value for point in points),
        slope_mb_per_min=slope,
        leaking=leaking,
        series=points,
    )


def _keeps_growing(points: Sequence[Point]) -> bool:
    """Return whether every fifth of the samples lies above the one before: a leak goes on.

    One big step is a library or a data set that was loaded, however steep it makes the slope.
    """
    fifths = np.array_split([point.value for point in points], 5)
    steps = np.diff([float(np.median(fifth)) for fifth in fifths])
    return bool((steps > LEAK_MB / 16).all() and steps.sum() > LEAK_MB / 2)


def theil_sen(points: Sequence[Point]) -> float:
    """Return the median slope over pairs of points, in MB per second; robust against jumps.

    Theil (1950), Sen (1968). Pairs lie half the samples apart, which needs no square of pairs.
    """
    half = len(points) // 2
    slopes = [
        (later.value - earlier.value) / (later.t - earlier.t)
        for earlier, later in zip(points[: len(points) - half], points[half:], strict=False)
        if later.t > earlier.t
    ]
    return float(np.median(slopes)) if slopes else 0.0
