"""Who is heard first where several want different things of one position: one ordered table.

Safety comes before the brake, the brake before position intelligence, and so on down to the
model. A veto stops only what would make a position larger or longer: nothing forbids an exit, nor
does the lesser wish of somebody higher, which an exit grants as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

#: From the first heard to the last; nowhere else is this order written down.
AUTHORITY = ("safety", "brake", "PIL", "PBA", "execution", "PAL", "model")
_RANK = {name: rank for rank, name in enumerate(AUTHORITY)}


class Wants(StrEnum):
    """What an authority may want of a position."""

    EXIT = "EXIT"
    REDUCE = "REDUCE"
    PARTIAL = "PARTIAL"
    TIGHTEN_SL = "TIGHTEN_SL"
    NO_ADD = "NO_ADD"
    EXTEND = "EXTEND"
    ADD = "ADD"


#: What makes a position larger or longer, and what a veto therefore stops.
_ENTERS = frozenset({Wants.ADD, Wants.EXTEND})


@dataclass(frozen=True)
class Claim:
    """What one authority wants done with one symbol, why, and what it takes to do it."""

    authority: str
    symbol: str
    wants: Wants
    why: str = ""
    detail: Any = None


@dataclass(frozen=True)
class Ruling:
    """What is done: the claim that stands, or None; and the claims that had to give way."""

    stands: Claim | None
    overruled: tuple[Claim, ...] = ()


def _place(claim: Claim) -> tuple[bool, int]:
    """Exits are heard first, then everybody by rank."""
    return claim.wants is not Wants.EXIT, _RANK[claim.authority]


def rule_on(claims: Iterable[Claim]) -> Ruling:
    """Return the ruling on the claims to one symbol, in whatever order they are given."""
    stands: Claim | None = None
    vetoed = False
    overruled = []
    for claim in sorted(claims, key=_place):
        if claim.wants is Wants.NO_ADD:
            vetoed = True
        elif stands is None and not (vetoed and claim.wants in _ENTERS):
            stands = claim
        elif stands is None or stands.wants is not claim.wants:
            overruled.append(claim)
    return Ruling(stands, tuple(overruled))
