"""Broken governance."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy.orm import Session

from homeostat.kernels.governance import Decision, Governance


class DecidesNothing(Governance):
    def approve(self, session: Session, approval_id: str, *, by: str, reason: str = "") -> None:
        """Return as if it had."""


class AllowsEveryUse(Governance):
    def use(self, session: Session, approval_id: str, **what: str) -> Decision:
        super().use(session, approval_id, **what)
        return Decision(True, False, "fine")


class RepeatsItsFirstDecision(Governance):
    first: ClassVar[list[Decision]] = []

    def decide(self, session: Session, **what: Any) -> Decision:
        if not self.first:
            what = {"action": "refactor.apply", "risk": "low", "actor": "x"}
            self.first.append(super().decide(session, **what))
        return self.first[0]


VARIANTS = {
    "does nothing": DecidesNothing,
    "returns success": AllowsEveryUse,
    "stale data stamped now": RepeatsItsFirstDecision,
}
