"""Broken variants of kernels.memory_fusion."""

from __future__ import annotations

from tests.component.kernels.broken_agency import BoastfulMemory, IdleMemory, StaleMemory

VARIANTS = {
    "does nothing": IdleMemory,
    "returns success": BoastfulMemory,
    "stale data stamped now": StaleMemory,
}
