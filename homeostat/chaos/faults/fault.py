"""The shape of a fault: planned with its way back, struck, and proven to have happened."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from homeostat.chaos.ground import Ground
from homeostat.chaos.load import Load
from homeostat.chaos.rollback import Undo
from homeostat.chaos.scenario import Proof
from homeostat.clock import utcnow
from homeostat.errors import HomeostatError
from homeostat.store import effects
from homeostat.store.database import reading
from homeostat.store.effects import EffectStart


class FaultNotPossibleError(HomeostatError):
    """The fault cannot be injected here; the scenario is skipped with this reason."""


@dataclass
class Plan:
    """What the fault is about to do: its victims by process name, the way back, and clues."""

    victims: dict[str, int] = field(default_factory=dict)
    undo: list[Undo] = field(default_factory=list)
    #: The job that was hit, where it was one.
    key: str = ""
    #: What the fault has seen or made on the way, for its own later questions.
    clues: dict[str, JsonValue] = field(default_factory=dict)


class Fault(ABC):
    """One fault; made for one injection."""

    def __init__(
        self, ground: Ground, load: Load, target: str, arguments: Mapping[str, JsonValue]
    ) -> None:
        self.ground = ground
        self.load = load
        self.target = target
        self.arguments = arguments

    @abstractmethod
    def plan(self) -> Plan:
        """Find the victim and the way back, without harm; raises FaultNotPossibleError."""

    @abstractmethod
    def strike(self, plan: Plan) -> None:
        """Do the harm."""

    @abstractmethod
    def happened(self, plan: Plan) -> Proof:
        """Look at the operating system or the broker whether the harm was done."""

    def remedied(self, plan: Plan) -> Proof | None:
        """Return whether the fault's own trace of its remedy is there; None: it has none."""
        del plan
        return None

    @staticmethod
    def proof(claim: str, *, held: bool, **observed: JsonValue) -> Proof:
        """Return a proof made now."""
        return Proof(claim=claim, held=held, observed=observed, at=utcnow())

    @staticmethod
    def starts(plan: Plan) -> list[EffectStart]:
        """Return the beginnings of the job that was hit, the oldest first."""
        with reading() as session:
            return list(effects.starts_of(session, plan.key))

    @staticmethod
    def done(plan: Plan) -> bool:
        """Return whether the job that was hit has had its effect."""
        with reading() as session:
            return bool(effects.counts(session, [plan.key]))

    def pids_of(self, names: list[str]) -> dict[str, int]:
        """Return the pids of the named processes; raises FaultNotPossibleError."""
        pids = self.ground.pids()
        missing = [name for name in names if name not in pids]
        if missing:
            raise FaultNotPossibleError(f"The stack runs no process named {', '.join(missing)}.")
        return {name: pids[name] for name in names}
