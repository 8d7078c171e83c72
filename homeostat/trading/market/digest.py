"""Fingerprints of bars and of journal rows: by them a replay sees what is not what it was.

It is no defence against a forger; it finds every single value that changed, and of several at
once all but one in 2³².
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from homeostat.trading.market.panel import Floats, Panel

Marks = NDArray[np.uint32]
_FIELDS = ("open", "high", "low", "close", "volume")
#: Odd, so that each weight has an inverse and no change of a single value is lost.
_STEP, _BETWEEN = np.uint64(0x9E3779B97F4A7C15), np.uint64(31)


def marks(panel: Panel) -> Marks:
    """Return (n,) fingerprints of the panel's rows; a missing bar counts as what it is."""
    weights = np.arange(1, len(panel.times) + 1, dtype=np.uint64) * _STEP | np.uint64(1)
    found = np.zeros(len(panel.symbols), dtype=np.uint64)
    for name in _FIELDS:
        bits = getattr(panel, name).view(np.uint64)
        found = found * _BETWEEN + np.einsum("ij,j->i", bits, weights)
    return _folded(found)


def row_marks(columns: Floats, rules: Sequence[str]) -> Marks:
    """Return (n,) fingerprints of n journal rows: their numbers (k, n), and the rule of each."""
    names = {rule: zlib.crc32(rule.encode()) for rule in set(rules)}
    found = np.array([names[rule] for rule in rules], dtype=np.uint64)
    for column in np.ascontiguousarray(columns):
        # The lower bits alone would be lost where the numbers are round.
        found = (found * _BETWEEN + column.view(np.uint64)) * _STEP
        found ^= found >> np.uint64(29)
    return _folded(found)


def _folded(found: NDArray[np.uint64]) -> Marks:
    return (found >> np.uint64(32) ^ found).astype(np.uint32)


def packed(found: Marks) -> str:
    """Return fingerprints as the journal keeps them: four bytes a symbol, as text."""
    return base64.b64encode(found.astype("<u4").tobytes()).decode()


def unpacked(text: str) -> Marks:
    """Return the fingerprints that a text holds; raises ValueError where it holds none."""
    return np.frombuffer(base64.b64decode(text, validate=True), dtype="<u4").astype(np.uint32)
