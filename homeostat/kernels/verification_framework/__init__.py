"""Invariants over the running system, and acts under contract that roll back on mismatch."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.errors import ActionRefusedError, HomeostatError
from homeostat.kernels.verification_framework.invariants import INVARIANTS
from homeostat.store import contracts as store
from homeostat.store.contracts import ContractState
from homeostat.store.trading import Position
from homeostat.supervision import contracts
from homeostat.supervision.contracts import Effect, Outcome, Terms
from homeostat.supervision.events import undone
from homeostat.supervision.ports import Governance

__all__ = ["InvariantBrokenError", "VerificationFramework"]

#: A contract that acts for longer has lost its process (no task may run longer than 600 s).
ABANDONED_AFTER = timedelta(minutes=11)


class InvariantBrokenError(HomeostatError):
    """Something that must always hold does not."""


class VerificationFramework(Component):
    """Checks what must hold, and carries out acts that prove themselves or are undone."""

    spec = ComponentSpec(
        name="verification_framework",
        wing=Wing.KERNELS,
        tier=1,
        summary="Checks what must always hold, and undoes acts that did not do what they should.",
        needs=("kernels.governance",),
        timeout_s=30.0,
    )

    def broken(self, session: Session) -> dict[str, list[str]]:
        """Return what breaks each invariant; an empty dict where all hold."""
        found = {name: check(session) for name, check in INVARIANTS.items()}
        return {name: faults for name, faults in found.items() if faults}

    def under_contract(
        self, session: Session, terms: Terms, effect: Effect, *, risk: str
    ) -> Outcome:
        """Ask governance, then hold an act of the caller's own transaction to `terms`.

        Raises ActionRefusedError where governance does not let the actor do it by itself now.
        """
        governance: Governance = self.need("kernels.governance")
        decision = governance.decide(
            session, action=terms.kind, risk=risk, actor=terms.actor, subject=terms.subject
        )
        if not decision.allowed:
            why = f"Governance does not allow {terms.kind} on {terms.subject}: {decision.reason}."
            raise ActionRefusedError(why)
        return self.within(session, terms, effect)

    def within(self, session: Session, terms: Terms, effect: Effect) -> Outcome:
        """Hold an act to `terms` that needs nobody's leave: the way back from one that had it."""
        return contracts.within(session, terms, effect)

    def probe(self, session: Session) -> Evidence:
        """Keep and break a contract on a real file, and plant a broken invariant; undo it all."""
        watch = Stopwatch()
        nonce = new_id()
        with tempfile.TemporaryDirectory() as folder, undone(session):
            file = Path(folder) / "value"
            file.write_text("before", encoding="utf-8")
            terms = Terms("probe", nonce, self.spec.full_name, {"content": nonce})
            lying = self.within(session, terms, _FileEffect(file, "something else"))
            rolled_back = file.read_text(encoding="utf-8") == "before"
            honest = self.within(session, terms, _FileEffect(file, nonce))
            written = file.read_text(encoding="utf-8") == nonce
            recorded = [one.state for one in store.on(session, nonce)]
            before = self.broken(session).get("one direction per symbol", [])
            session.add_all([_position(nonce, 1), _position(nonce, -1)])
            session.flush()
            planted = self.broken(session).get("one direction per symbol", [])
        noticed = len(planted) == len(before) + 1 and any(nonce in fault for fault in planted)
        return Evidence(
            claim="an act that lies is undone, one that holds is kept, a broken invariant is seen",
            passed=lying.state is ContractState.ROLLED_BACK
            and rolled_back
            and honest.held
            and written
            and recorded == [ContractState.ROLLED_BACK, ContractState.HELD]
            and noticed,
            observed={
                "nonce": nonce,
                "lying_act": lying.state,
                "rolled_back": rolled_back,
                "honest_act": honest.state,
                "written": written,
                "recorded": list(recorded),
                "planted_fault_seen": noticed,
            },
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Check every invariant, and end the contracts whose process died.

        Raises InvariantBrokenError with the first fault.
        """
        del due_at
        lost = store.abandoned(session, ABANDONED_AFTER)
        for contract in lost:
            contract.state, contract.ended_at = ContractState.BROKEN, utcnow()
            contract.reason = "its process died in the act; look at what it acted on"
            contracts.told(session, contract)
        session.flush()
        broken = self.broken(session)
        if broken:
            name, faults = next(iter(broken.items()))
            more = sum(len(one) for one in broken.values()) - 1
            raise InvariantBrokenError(f"{name}: {faults[0]} (and {more} more).")
        return CycleResult(
            work=len(INVARIANTS) + len(lost),
            observed={"held": list(INVARIANTS), "abandoned_contracts": len(lost)},
        )


class _FileEffect:
    """Writes a text into a file."""

    def __init__(self, file: Path, text: str) -> None:
        self._file, self._text = file, text

    def read(self) -> dict[str, JsonValue]:
        return {"content": self._file.read_text(encoding="utf-8")}

    def act(self) -> None:
        self._file.write_text(self._text, encoding="utf-8")

    def undo(self, before: Mapping[str, JsonValue]) -> None:
        self._file.write_text(str(before["content"]), encoding="utf-8")


def _position(nonce: str, side: int) -> Position:
    return Position(
        decision_id=f"probe-{nonce}-{side}", book="probe", symbol=nonce, model="probe",
        side=side, quantity=1.0, first_quantity=1.0, entry=1.0, stop=0.5, take_profit=2.0,
        trail=0.1, partial=0.5, risk_per_unit=0.5, confidence=0.5, mark=1.0,
    )  # fmt: skip
