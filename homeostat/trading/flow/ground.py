"""What a cycle rests on: switches, policy, directive and universe, read once, at its beginning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from homeostat.store import controls
from homeostat.store import trading as store
from homeostat.store.trading import Directive, PolicyHead, UniverseHead
from homeostat.trading.authority import Claim, Wants
from homeostat.trading.health import VENUE_BANNED

#: Where no directive is in force, entries are forbidden anyway; this floor is for the journal.
USUAL_FLOOR = 0.65
_SAFETY_WANTS = {"EMERGENCY_SHUTDOWN": Wants.EXIT, "DEFENSIVE_EXIT": Wants.TIGHTEN_SL}


@dataclass(frozen=True)
class Ground:
    """The rules in force at a moment; `policy` and `directive` may be missing or expired."""

    at: datetime
    switches: frozenset[str]
    policy: PolicyHead | None
    directive: Directive | None
    universe: UniverseHead | None = None

    @classmethod
    def read(cls, session: Session, at: datetime) -> Ground:
        """Read the rules in force."""
        return cls(
            at,
            controls.holding(session),
            store.policy_head(session),
            store.latest_directive(session),
            store.universe_head(session),
        )

    @property
    def mode(self) -> str:
        """The risk mode; the most careful one without a directive in force."""
        directive = self._directive_in_force()
        return directive.mode if directive is not None else "CRITICAL"

    @property
    def floor(self) -> float:
        """The least confidence of an entry."""
        return self.directive.min_confidence if self.directive is not None else USUAL_FLOOR

    def entry_rule(self) -> str:
        """Return the rule that forbids every entry at this moment, or an empty text."""
        return next(self._forbidding(), "")

    def _forbidding(self) -> Iterator[str]:
        if controls.BRAKE in self.switches:
            yield "BRAKE"
        if controls.TRADING_PAUSED in self.switches:
            yield "TRADING_PAUSED"
        if self.policy is None:
            yield "SAFETY_POLICY_MISSING"
        elif self.policy.expires_at <= self.at:
            yield "SAFETY_POLICY_EXPIRED"
        elif self.policy.policy != "ALLOW_ALL":
            yield f"SAFETY_{self.policy.policy}"
        if VENUE_BANNED in self.switches:
            yield "VENUE_BANNED"
        if self.directive is None:
            yield "DIRECTIVE_MISSING"
        elif self.directive.expires_at <= self.at:
            yield "DIRECTIVE_EXPIRED"
        elif not self.directive.allow_new_trades:
            yield "DIRECTIVE_FORBIDS"

    def claims(self, symbol: str) -> Iterator[Claim]:
        """Yield what safety, brake and execution want of an open position.

        What is missing or expired forbids adding and asks for nothing: only a policy or directive
        in force may take a position off.
        """
        policy = self.policy
        if policy is not None and policy.expires_at > self.at and policy.policy in _SAFETY_WANTS:
            yield Claim("safety", symbol, _SAFETY_WANTS[policy.policy], policy.policy)
        directive = self._directive_in_force()
        if directive is not None and directive.reduce_global_risk:
            yield Claim("safety", symbol, Wants.REDUCE, "REDUCE_GLOBAL_RISK")
        rule = self.entry_rule()
        if rule == "VENUE_BANNED":
            yield Claim("execution", symbol, Wants.NO_ADD, rule)
        elif rule:
            yield Claim("brake" if rule == "BRAKE" else "safety", symbol, Wants.NO_ADD, rule)

    def _directive_in_force(self) -> Directive | None:
        directive = self.directive
        return directive if directive is not None and directive.expires_at > self.at else None
