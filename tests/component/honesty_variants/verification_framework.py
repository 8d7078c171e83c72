"""Broken verification frameworks."""

from __future__ import annotations

from sqlalchemy.orm import Session

from homeostat.kernels.verification_framework import VerificationFramework
from homeostat.store.contracts import ContractState
from homeostat.supervision.contracts import Effect, Outcome, Terms


class ChecksNothing(VerificationFramework):
    def broken(self, session: Session) -> dict[str, list[str]]:
        del session
        return {}


class BelievesEveryAct(VerificationFramework):
    def within(self, session: Session, terms: Terms, effect: Effect) -> Outcome:
        del session
        effect.act()
        return Outcome(ContractState.HELD, {}, dict(terms.expected), "")


class RepeatsItsFirstFinding(VerificationFramework):
    found: dict[str, list[str]] | None = None

    def broken(self, session: Session) -> dict[str, list[str]]:
        if self.found is None:
            self.found = super().broken(session)
        return self.found


VARIANTS = {
    "does nothing": ChecksNothing,
    "returns success": BelievesEveryAct,
    "stale data stamped now": RepeatsItsFirstFinding,
}
