"""The coordinator: from everybody's health and the book's risk to one directive that expires.

The directive is the only permission to open positions. It is made of facts that are read anew
each time; where a fact is missing, the answer is no.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.component import (
    Component,
    ComponentSpec,
    CycleResult,
    Evidence,
    Stopwatch,
    Wing,
)
from homeostat.store import checks, controls
from homeostat.store import trading as store
from homeostat.store.trading import Directive, DirectiveAck, Position
from homeostat.supervision.state import standings
from homeostat.trading.ai_hfos.directives import (
    ALLOW_ALL,
    LIFE,
    MODES,
    SCORES,
    SUBSYSTEMS,
    Drawdown,
    Facts,
    Health,
    ModeLimits,
    RiskMode,
    directive_for,
    health_of,
    mode_for,
    next_drawdown,
)
from homeostat.trading.authority import Claim, Wants, rule_on

__all__ = [
    "ALLOW_ALL",
    "LIFE",
    "MODES",
    "SCORES",
    "SUBSYSTEMS",
    "AiHfos",
    "Drawdown",
    "Facts",
    "Health",
    "ModeLimits",
    "RiskMode",
    "directive_for",
    "health_of",
    "mode_for",
    "next_drawdown",
]


class AiHfos(Component):
    """Coordinates the subsystems by directives."""

    spec = ComponentSpec(
        name="ai_hfos",
        wing=Wing.TRADING,
        tier=7,
        summary="Reads everybody's health and the book's risk, and issues directives that expire.",
    )

    def probe(self, session: Session) -> Evidence:
        """Make a directive from the facts of this moment, and one from the same with the policy
        forbidding: the second must not allow what the first may.
        """
        watch = Stopwatch()
        facts = self.facts(session)
        now = utcnow()
        open_minded = Facts(
            dict.fromkeys(SUBSYSTEMS, 100.0), ALLOW_ALL, Drawdown.NORMAL, False, False, False, False
        )
        forbidding = Facts(
            facts.scores, "NO_NEW_TRADES", facts.drawdown, False, False, False, False
        )
        may = directive_for(open_minded, 0, now).allow_new_trades
        must_not = directive_for(forbidding, 0, now).allow_new_trades
        return Evidence(
            claim="healthy facts allow entries and a forbidding policy does not",
            passed=may and not must_not and set(facts.scores) == set(SUBSYSTEMS),
            observed={
                "health": health_of(facts.scores.values()),
                "scores": dict(facts.scores),
                "policy": facts.policy,
                "drawdown": facts.drawdown,
                "healthy_allows": may,
                "forbidden_allows": must_not,
            },
            seconds=watch.seconds,
        )

    def facts(self, session: Session) -> Facts:
        """Read everything that a directive rests on."""
        now = utcnow()
        specs = {name: spec for name, spec in registry.specs().items() if name in SUBSYSTEMS}
        known = standings(specs, checks.leases(session), now)
        scores = {
            # A subsystem whose module does not load has no standing, and is worth nothing.
            name: SCORES[known[name].state] if name in known else 0.0
            for name in SUBSYSTEMS
        }
        policy = store.latest_policy(session)
        fresh = policy is not None and policy.expires_at > now
        book = store.book_of(session, store.PAPER)
        recent = session.execute(
            select(func.count(), func.sum(store.ModelOutcome.r)).where(
                store.ModelOutcome.at >= now - timedelta(hours=24),
                # The canary wins by its making: that is no reason to dare more.
                store.ModelOutcome.model != store.CANARY,
            )
        ).one()
        return Facts(
            scores=scores,
            policy=policy.policy if policy is not None and fresh else None,
            drawdown=Drawdown(book.drawdown_level),
            brake=controls.is_on(session, controls.BRAKE),
            paused=controls.is_on(session, controls.TRADING_PAUSED),
            safe_profile=controls.is_on(session, controls.SAFE_PROFILE),
            winning=int(recent[0]) >= 20 and float(recent[1] or 0.0) > 0,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Move the drawdown machine, issue the next directive, and say who has read the last."""
        book = store.book_of(session, store.PAPER, lock=True)
        positions = store.open_positions(session, store.PAPER)
        # The peak has what floats in it, so what floats is lost or won here too.
        equity = book.equity + sum(
            one.side * one.quantity * (one.mark - one.entry) for one in positions
        )
        # In this order a loss of a tenth is 0.1 exactly, and reaches its bound.
        peak = max(book.peak_equity, equity)
        drawdown = (peak - equity) / peak
        book.drawdown_level = next_drawdown(Drawdown(book.drawdown_level), drawdown)
        last = store.latest_directive(session)
        acknowledged = self._acknowledged(session, last.version) if last else []
        directive = directive_for(self.facts(session), last.version + 1 if last else 1, utcnow())
        session.add(directive)
        session.flush()
        conflicts = self._conflicts(positions, directive)
        return CycleResult(
            work=1 + len(SUBSYSTEMS),
            observed={
                "version": directive.version,
                "mode": directive.mode,
                "health": directive.health,
                "allow_new_trades": directive.allow_new_trades,
                "scale_position_sizes": directive.scale_position_sizes,
                "reduce_global_risk": directive.reduce_global_risk,
                "forbids_entries": directive.reasons["forbids_entries"],
                "drawdown": round(drawdown, 5),
                "conflicts": conflicts,
                "last_acknowledged_by": list(acknowledged),
                "due_at": due_at.isoformat(),
            },
        )

    def _acknowledged(self, session: Session, version: int) -> list[str]:
        statement = select(DirectiveAck.component).where(DirectiveAck.version == version)
        return sorted(session.scalars(statement))

    def _conflicts(self, positions: Sequence[Position], directive: Directive) -> int:
        """Return at how many open positions the subsystems now want different things.

        The flow resolves them by the same table when the next bar is in.
        """
        conflicts = 0
        for position in positions:
            claims = [Claim("PIL", position.symbol, wants) for wants in _pil(position.advice)]
            if directive.reduce_global_risk:
                claims.append(Claim("safety", position.symbol, Wants.REDUCE))
            if not directive.allow_new_trades:
                claims.append(Claim("safety", position.symbol, Wants.NO_ADD))
            conflicts += bool(rule_on(claims).overruled)
        return conflicts


#: What an advice of position intelligence asks for; HOLD asks for nothing.
_ADVICE = {
    "EXIT": Wants.EXIT,
    "REDUCE": Wants.REDUCE,
    "TIGHTEN_SL": Wants.TIGHTEN_SL,
    "SCALE_IN": Wants.ADD,
    "EXTEND_HOLD": Wants.EXTEND,
}


def _pil(advice: str) -> list[Wants]:
    return [_ADVICE[advice]] if advice in _ADVICE else []
