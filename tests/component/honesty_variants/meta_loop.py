"""Broken variants of kernels.meta_loop."""

from __future__ import annotations

from tests.component.kernels.broken_agency import BoastfulTuner, IdleTuner, StaleTuner

VARIANTS = {
    "does nothing": IdleTuner,
    "returns success": BoastfulTuner,
    "stale data stamped now": StaleTuner,
}
