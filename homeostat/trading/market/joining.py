"""Which files of a folder are one series: those of one symbol that follow one another.

A year in twelve files, or a day in each, is one recording; the same bars in two forms are not two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from homeostat.trading.market.panel import Candles

FIELDS = ("times", "open", "high", "low", "close", "volume")
#: Two forms of one price differ by no more than this share of it.
_ROUNDED = 1e-9


@dataclass
class Part:
    """The candles of a file, and of those that were joined to it, in order of time."""

    file: Path
    pieces: list[Candles]

    @property
    def candles(self) -> Candles:
        """All of its candles."""
        if len(self.pieces) > 1:
            found = [np.concatenate([getattr(x, name) for x in self.pieces]) for name in FIELDS]
            self.pieces = [Candles(self.pieces[0].symbol, *found)]
        return self.pieces[0]


def joined(files: Iterable[tuple[Path, Candles]]) -> tuple[list[Part], dict[Path, str]]:
    """Return the series that the files make up, and the files that say nothing new, with why.

    Files of one folder and symbol are joined where one follows the other, or where the bars that
    both have are equal. All others are series of their own: those of two venues, say.
    """
    groups: dict[tuple[Path, str], list[tuple[Path, Candles]]] = {}
    for file, candles in files:
        groups.setdefault((file.parent, candles.symbol), []).append((file, candles))
    parts: list[Part] = []
    repeated: dict[Path, str] = {}
    for group in groups.values():
        group.sort(key=lambda one: (one[1].times[0], -one[1].times[-1], one[0]))
        parts += _chains(group, repeated)
    return parts, repeated


def _chains(group: Sequence[tuple[Path, Candles]], repeated: dict[Path, str]) -> list[Part]:
    chains: list[Part] = []
    for file, candles in group:
        for known in chains:
            fresh = _fresh(known, candles)
            if fresh is None:
                continue
            if len(fresh):
                known.pieces.append(fresh)
            else:
                repeated[file] = f"{file} has only bars that {known.file} has already."
            break
        else:
            chains.append(Part(file, [candles]))
    return chains


def _fresh(known: Part, candles: Candles) -> Candles | None:
    """Return what goes on where the known ends; None where the two contradict each other."""
    end = known.pieces[-1].times[-1]
    count = int(np.searchsorted(candles.times, end, side="right"))
    if count and not _alike(known.candles, candles, count):
        return None
    return Candles(candles.symbol, *(getattr(candles, name)[count:] for name in FIELDS))


def _alike(one: Candles, other: Candles, count: int) -> bool:
    """Return whether the other's first `count` bars are the same in the one."""
    start = int(np.searchsorted(one.times, other.times[0]))
    pairs = (
        (getattr(one, name)[start : start + count], getattr(other, name)[:count]) for name in FIELDS
    )
    return all(len(old) == count and _equal(old, new) for old, new in pairs)


def _equal(old: NDArray[np.number], new: NDArray[np.number]) -> bool:
    return bool(np.allclose(old, new, rtol=_ROUNDED, atol=0.0))
