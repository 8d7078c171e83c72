"""Broken variants of kernels.agentic_spine."""

from __future__ import annotations

from tests.component.kernels.broken_agency import BoastfulSpine, IdleSpine, StaleSpine

VARIANTS = {
    "does nothing": IdleSpine,
    "returns success": BoastfulSpine,
    "stale data stamped now": StaleSpine,
}
