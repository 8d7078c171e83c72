"""What a cycle rests on: switches, policy, directive and universe, read once, at its beginning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from sqlalchemy.orm import Session

from homeostat.settings import settings
from homeostat.store import controls
from homeostat.store import trading as store
from homeostat.store.trading import Directive, PolicyHead, UniverseHead
from homeostat.trading.authority import Claim, Wants
from homeostat.trading.health import VENUE_BANNED

#: Where no directive is in force, entries are forbidden anyway; this floor is for the journal.
USUAL_FLOOR = 0.65
#: The switch that every reconciliation sets which the venue answered, and every start lifts.
VENUE_RECONCILED = "venue.reconciled"
#: Not seen to be set where trades go outside: noted as a switch, so that the journal keeps it.
VENUE_UNRECONCILED = "venue.unreconciled"
#: Switches that forbid entries by a name: those before the policy is asked, and the venue's.
_HELD_BACK = {controls.BRAKE: "BRAKE", controls.TRADING_PAUSED: "TRADING_PAUSED"}
_AT_VENUE = {VENUE_BANNED: "VENUE_BANNED", VENUE_UNRECONCILED: "VENUE_UNRECONCILED"}
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
        found, switches = store.in_force(session), controls.holding(session)
        if settings().trades_outside and VENUE_RECONCILED not in switches:
            switches |= {VENUE_UNRECONCILED}
        return cls(at, switches, found.policy, found.directive, found.universe)

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
        yield from (rule for switch, rule in _HELD_BACK.items() if switch in self.switches)
        if self.policy is None:
            yield "SAFETY_POLICY_MISSING"
        elif self.policy.expires_at <= self.at:
            yield "SAFETY_POLICY_EXPIRED"
        elif self.policy.policy != "ALLOW_ALL":
            yield f"SAFETY_{self.policy.policy}"
        yield from (rule for switch, rule in _AT_VENUE.items() if switch in self.switches)
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
        return (Claim(who, symbol, wants, why) for who, wants, why in self._standing)

    @cached_property
    def _standing(self) -> tuple[tuple[str, Wants, str], ...]:
        """Who wants what of every position alike, and why."""
        return tuple(self._wanted())

    def _wanted(self) -> Iterator[tuple[str, Wants, str]]:
        directive, policy = self._directive_in_force(), self.policy
        # The half is taken once; the stop follows the price for as long as the policy holds.
        if directive is not None and directive.reduce_global_risk:
            yield "safety", Wants.REDUCE, "REDUCE_GLOBAL_RISK"
        if policy is not None and policy.expires_at > self.at and policy.policy in _SAFETY_WANTS:
            yield "safety", _SAFETY_WANTS[policy.policy], policy.policy
        rule = self.entry_rule()
        if rule in _AT_VENUE.values():
            yield "execution", Wants.NO_ADD, rule
        elif rule:
            yield "brake" if rule == "BRAKE" else "safety", Wants.NO_ADD, rule

    def _directive_in_force(self) -> Directive | None:
        directive = self.directive
        return directive if directive is not None and directive.expires_at > self.at else None
