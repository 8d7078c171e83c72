"""Acting under contract: say what is to change, look, act, look again, undo on mismatch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue

from homeostat.store.contracts import ContractState


class Effect(Protocol):
    """An act that can be looked at and undone."""

    def read(self) -> dict[str, JsonValue]:
        """Return what the act changes, as it is now."""

    def act(self) -> None:
        """Do it."""

    def undo(self, before: Mapping[str, JsonValue]) -> None:
        """Bring back what `read` returned before."""


@dataclass(frozen=True)
class Outcome:
    """What came of an act: HELD, ROLLED_BACK, or BROKEN where even undoing failed."""

    state: ContractState
    before: dict[str, JsonValue]
    observed: dict[str, JsonValue]
    reason: str


def carry_out(effect: Effect, expected: Mapping[str, JsonValue]) -> Outcome:
    """Act, and believe only what is then read; what does not match is undone, and that is read too.

    An act that changed nothing because it was so already does not count as done.
    """
    before = effect.read()
    if not _mismatch(expected, before):
        reason = "nothing to do: it was so already"
        return Outcome(ContractState.ROLLED_BACK, before, before, reason)
    try:
        effect.act()
        observed = effect.read()
        reason = _mismatch(expected, observed)
    except Exception as error:  # noqa: BLE001  # whatever the act raises, it must be undone
        observed, reason = {}, f"the act failed: {type(error).__name__}: {error}"
    if not reason:
        return Outcome(ContractState.HELD, before, observed, "")
    return _undone(effect, before, observed, reason)


def _undone(
    effect: Effect, before: dict[str, JsonValue], observed: dict[str, JsonValue], reason: str
) -> Outcome:
    try:
        effect.undo(before)
        after = effect.read()
    except Exception as error:  # noqa: BLE001  # reported, whatever it is
        why = f"{reason}; undoing failed: {type(error).__name__}: {error}"
        return Outcome(ContractState.BROKEN, before, observed, why)
    if after != before:
        why = f"{reason}; undone, and yet it reads {after}"
        return Outcome(ContractState.BROKEN, before, observed, why)
    return Outcome(ContractState.ROLLED_BACK, before, observed, reason)


def _mismatch(expected: Mapping[str, JsonValue], observed: Mapping[str, JsonValue]) -> str:
    for name, value in expected.items():
        if name not in observed or observed[name] != value:
            return f"{name} was to be {value!r} and is {observed.get(name)!r}"
    return ""
