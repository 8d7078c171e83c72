"""The measured window: when the load ran, and when declared faults were in force."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from homeostat.chaos.scenario import FaultWindow
from homeostat.stress.facts import Quantiles

#: A distribution's percentiles, in per cent.
P50, P95, P99 = 50, 95, 99


@dataclass(frozen=True)
class Window:
    """From `start` (included) to `end` (not included), with the faults inside."""

    start: datetime
    end: datetime
    faults: Sequence[FaultWindow] = field(default=())

    @property
    def seconds(self) -> float:
        """The window's length."""
        return (self.end - self.start).total_seconds()

    def holds(self, moment: datetime) -> bool:
        """Return whether the moment lies in the window."""
        return self.start <= moment < self.end

    def fault_at(self, moment: datetime) -> str:
        """Return the scenario whose fault was in force at the moment; empty: none was."""
        return next((fault.scenario for fault in self.faults if fault.covers(moment)), "")

    def since_start(self, moment: datetime) -> float:
        """Return the seconds since the start."""
        return (moment - self.start).total_seconds()


def quantiles(values_ms: Iterable[float], target_ms: float | None = None) -> Quantiles | None:
    """Return the distribution, None where there are no values.

    The quantile is the nearest rank, so that every figure is one that was really measured.
    """
    ranked = sorted(values_ms)
    if not ranked:
        return None

    def at(percent: int) -> float:
        return ranked[min(len(ranked) - 1, -(-len(ranked) * percent // 100) - 1)]

    return Quantiles(
        count=len(ranked),
        p50_ms=at(P50),
        p95_ms=at(P95),
        p99_ms=at(P99),
        max_ms=ranked[-1],
        target_ms=target_ms,
    )
