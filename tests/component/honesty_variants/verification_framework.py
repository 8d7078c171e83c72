"""Broken verification frameworks."""

from __future__ import annotations

from sqlalchemy.orm import Session

from homeostat.kernels.verification_framework import Outcome, VerificationFramework


class ChecksNothing(VerificationFramework):
    def broken(self, session: Session) -> dict[str, list[str]]:
        del session
        return {}


class SettlesNothing(VerificationFramework):
    def settle(self, session: Session, contract_id: str, outcome: Outcome) -> None:
        """Return as if it had."""


class RepeatsItsFirstFinding(VerificationFramework):
    found: dict[str, list[str]] | None = None

    def broken(self, session: Session) -> dict[str, list[str]]:
        if self.found is None:
            self.found = super().broken(session)
        return self.found


VARIANTS = {
    "does nothing": ChecksNothing,
    "returns success": SettlesNothing,
    "stale data stamped now": RepeatsItsFirstFinding,
}
