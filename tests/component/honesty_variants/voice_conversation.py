"""Broken variants of kernels.voice_conversation."""

from __future__ import annotations

from tests.component.kernels.broken_agency import BoastfulVoice, IdleVoice, StaleVoice

VARIANTS = {
    "does nothing": IdleVoice,
    "returns success": BoastfulVoice,
    "stale data stamped now": StaleVoice,
}
