"""When ticks are due: on a grid that every process computes alike.

A tick of an entry is due at `offset + k · interval`, counted in whole microseconds from the
epoch, so that any beat, ledger or reader yields the same due times and so the same natural keys
(entry and due time). The offset comes from the entry's name, so that entries of one interval are
spread over it and do not fall due all at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Offsets are multiples of this, in microseconds: what falls due in one tenth of a second falls
#: due together, so that a beat wakes ten times a second at most and is still on time.
GRID_US = 100_000
_SECOND_US = 1_000_000


def interval_us(interval_s: float) -> int:
    """Return the interval in whole microseconds, at least one; raises ValueError below zero."""
    if interval_s <= 0:
        raise ValueError(f"An interval must be positive, and is {interval_s} s.")
    return max(1, round(interval_s * _SECOND_US))


def offset_us(name: str, interval_s: float) -> int:
    """Return the entry's offset from the epoch in microseconds, in [0, interval)."""
    slots = max(1, interval_us(interval_s) // GRID_US)
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % slots * GRID_US


def microseconds(moment: datetime) -> int:
    """Return an aware moment as whole microseconds since the epoch."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment(us: int) -> datetime:
    """Return the moment that lies so many microseconds after the epoch."""
    return EPOCH + timedelta(microseconds=us)


def newest_due(name: str, interval_s: float, at: datetime) -> datetime:
    """Return the newest due time of the entry that is not after `at`."""
    every, offset = interval_us(interval_s), offset_us(name, interval_s)
    return moment((microseconds(at) - offset) // every * every + offset)


def due_between(name: str, interval_s: float, start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the entry's due times in [start, end), in order."""
    every = timedelta(microseconds=interval_us(interval_s))
    due = newest_due(name, interval_s, start)
    if due < start:
        due += every
    while due < end:
        yield due
        due += every
