"""One exception of a chain and its frames, as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Frame:
    """One level of a traceback. `path` and `line` are for people; no key ever contains them."""

    module: str
    function: str
    path: str
    line: int
    context: str
    in_app: bool


@dataclass(frozen=True, slots=True)
class Raised:
    """One exception of a chain: its qualified type, its message, its frames, outermost first.

    `members` are the exceptions of a group; `relation` says how it led to the next one.
    """

    type: str
    message: str
    frames: tuple[Frame, ...] = ()
    relation: str = ""
    members: tuple[Raised, ...] = ()

    def leaves(self) -> Iterator[Raised]:
        """Yield the exceptions that are no groups, this one included where it is none."""
        if not self.members:
            yield self
        for member in self.members:
            yield from member.leaves()
