"""Broken variants of kernels.self_healing."""

from __future__ import annotations

from tests.component.kernels.broken_agency import BoastfulHealer, IdleHealer, StaleHealer

VARIANTS = {
    "does nothing": IdleHealer,
    "returns success": BoastfulHealer,
    "stale data stamped now": StaleHealer,
}
