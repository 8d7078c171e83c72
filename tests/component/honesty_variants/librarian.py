"""Broken variants of kernels.librarian."""

from __future__ import annotations

from tests.component.kernels.broken_agency import BoastfulLibrarian, IdleLibrarian, StaleLibrarian

VARIANTS = {
    "does nothing": IdleLibrarian,
    "returns success": BoastfulLibrarian,
    "stale data stamped now": StaleLibrarian,
}
