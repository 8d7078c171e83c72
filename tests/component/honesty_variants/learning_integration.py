"""Broken variants of kernels.learning_integration."""

from __future__ import annotations

from tests.component.kernels.broken_agency import BoastfulLearner, IdleLearner, StaleLearner

VARIANTS = {
    "does nothing": IdleLearner,
    "returns success": BoastfulLearner,
    "stale data stamped now": StaleLearner,
}
