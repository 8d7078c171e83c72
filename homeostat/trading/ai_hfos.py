"""The coordinator: from everybody's health and the book's risk to one directive that expires.

The directive is the only permission to open positions. It is made of facts that are read anew
each time; where a fact is missing, the answer is no.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.component import (
    Component,
    ComponentSpec,
    CycleResult,
    Evidence,
    State,
    Stopwatch,
    Wing,
)
from homeostat.store import checks, controls
from homeostat.store import trading as store
from homeostat.store.trading import Directive, DirectiveAck
from homeostat.supervision.state import standings

#: A directive is believed for three of its minutes; after that no entry is allowed.
LIFE = timedelta(seconds=180)
ALLOW_ALL = "ALLOW_ALL"

#: Whom the coordinator reads and who acknowledges its directives.
SUBSYSTEMS = (
    "trading.portfolio_balancer",
    "trading.profit_amplification",
    "trading.position_intelligence",
    "trading.model_supervisor",
    "trading.retraining_orchestrator",
    "trading.self_healing",
    "trading.universe_os",
    "trading.dynamic_tpsl",
)
#: Points of health for each state; below `UNHEALTHY_BELOW` a subsystem counts as unhealthy.
SCORES = {State.RUNNING: 100.0, State.DEGRADED: 60.0, State.UNKNOWN: 45.0, State.FAILED: 0.0}
UNHEALTHY_BELOW = 50.0


class Health(StrEnum):
    """The system's health as the coordinator sees it."""

    OPTIMAL = "OPTIMAL"
    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    CRITICAL = "CRITICAL"
    EMERGENCY = "EMERGENCY"


class RiskMode(StrEnum):
    """How much is dared."""

    CRITICAL = "CRITICAL"
    SAFE = "SAFE"
    NORMAL = "NORMAL"
    AGGRESSIVE = "AGGRESSIVE"


@dataclass(frozen=True)
class ModeLimits:
    """A risk mode's limits; concentration is the share of equity in one symbol."""

    scale: float
    min_confidence: float
    max_positions: int
    max_leverage: float
    max_concentration: float


#: The specification's table; where it has a dash, the balancer's own defaults hold (8 positions)
#: and the exchange's usual 20-fold leverage.
MODES = {
    RiskMode.CRITICAL: ModeLimits(0.3, 0.85, 3, 5.0, 0.15),
    RiskMode.SAFE: ModeLimits(0.6, 0.75, 5, 10.0, 0.20),
    RiskMode.NORMAL: ModeLimits(1.0, 0.65, 8, 20.0, 0.30),
    RiskMode.AGGRESSIVE: ModeLimits(1.3, 0.60, 8, 20.0, 0.30),
}


class Drawdown(StrEnum):
    """The drawdown machine's levels, from harmless to halted."""

    NORMAL = "NORMAL"
    SAFE = "SAFE"
    CRITICAL = "CRITICAL"
    HALT = "HALT"


_LEVELS = list(Drawdown)
#: A level is entered at its bound and left below four fifths of it.
_ENTER = {Drawdown.SAFE: 0.05, Drawdown.CRITICAL: 0.10, Drawdown.HALT: 0.20}
_LEAVE_SHARE = 0.8

#: Who is heard first where two want different things of one symbol.
AUTHORITY = ("safety", "brake", "PIL", "PBA", "execution", "PAL", "model")


@dataclass(frozen=True)
class Claim:
    """What one authority wants done with one symbol: `EXIT`, `SCALE_IN`, `HOLD`."""

    authority: str
    symbol: str
    wants: str


@dataclass(frozen=True)
class Facts:
    """All that a directive rests on; `policy` is None where it is missing or stale."""

    scores: Mapping[str, float]
    policy: str | None
    drawdown: Drawdown
    brake: bool
    paused: bool
    safe_profile: bool
    winning: bool


def health_of(scores: Iterable[float]) -> Health:
    """Return the health for the subsystems' scores (0–100); no scores at all are an emergency."""
    points = list(scores)
    if not points:
        return Health.EMERGENCY
    mean = sum(points) / len(points)
    unhealthy = sum(point < UNHEALTHY_BELOW for point in points)
    if unhealthy > 3 or mean < 30:
        return Health.EMERGENCY
    if mean >= 90 and unhealthy == 0:
        return Health.OPTIMAL
    if mean >= 70 and unhealthy <= 1:
        return Health.HEALTHY
    return Health.DEGRADED if mean >= 50 else Health.CRITICAL


def next_drawdown(now: Drawdown, drawdown: float) -> Drawdown:
    """Return the level that follows; one level at a time down, at once up."""
    reached = max(
        (level for level, bound in _ENTER.items() if drawdown >= bound),
        key=_LEVELS.index,
        default=Drawdown.NORMAL,
    )
    if _LEVELS.index(reached) >= _LEVELS.index(now):
        return reached
    if drawdown < _LEAVE_SHARE * _ENTER[now]:
        return _LEVELS[_LEVELS.index(now) - 1]
    return now


def mode_for(facts: Facts) -> RiskMode:
    """Return the risk mode: the most careful one that any fact asks for."""
    health = health_of(facts.scores.values())
    if health in (Health.EMERGENCY, Health.CRITICAL) or facts.policy is None:
        return RiskMode.CRITICAL
    if facts.drawdown in (Drawdown.CRITICAL, Drawdown.HALT) or facts.policy != ALLOW_ALL:
        return RiskMode.CRITICAL
    if health is Health.DEGRADED or facts.drawdown is Drawdown.SAFE or facts.safe_profile:
        return RiskMode.SAFE
    if health is Health.OPTIMAL and facts.winning:
        return RiskMode.AGGRESSIVE
    return RiskMode.NORMAL


def directive_for(facts: Facts, version: int, at: datetime) -> Directive:
    """Return the directive that follows from the facts."""
    mode = mode_for(facts)
    limits = MODES[mode]
    forbidden = {
        "mode is CRITICAL": mode is RiskMode.CRITICAL,
        "safety policy is missing or stale": facts.policy is None,
        f"safety policy is {facts.policy}": facts.policy not in (None, ALLOW_ALL),
        "the brake is on": facts.brake,
        "trading is paused": facts.paused,
    }
    reasons = [reason for reason, holds in forbidden.items() if holds]
    return Directive(
        version=version,
        issued_at=at,
        expires_at=at + LIFE,
        mode=mode,
        health=health_of(facts.scores.values()),
        allow_new_trades=not reasons,
        reduce_global_risk=facts.drawdown in (Drawdown.CRITICAL, Drawdown.HALT)
        or facts.policy in ("DEFENSIVE_EXIT", "EMERGENCY_SHUTDOWN"),
        scale_position_sizes=limits.scale,
        min_confidence=limits.min_confidence,
        max_positions=limits.max_positions,
        max_leverage=limits.max_leverage,
        max_concentration=limits.max_concentration,
        reasons={
            "forbids_entries": reasons,
            "scores": dict(facts.scores),
            "policy": facts.policy,
            "drawdown": facts.drawdown,
        },
    )


def resolve(claims: Iterable[Claim]) -> tuple[dict[str, Claim], int]:
    """Return, per symbol, the claim of the highest authority, and how many conflicts there were."""
    ordered = sorted(claims, key=lambda claim: AUTHORITY.index(claim.authority))
    won: dict[str, Claim] = {}
    disputed: set[str] = set()
    for claim in ordered:
        first = won.setdefault(claim.symbol, claim)
        if first.wants != claim.wants:
            disputed.add(claim.symbol)
    return won, len(disputed)


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
            name: SCORES[known[name].state] if name in known else SCORES[State.FAILED]
            for name in SUBSYSTEMS
        }
        policy = store.latest_policy(session)
        fresh = policy is not None and policy.expires_at > now
        book = store.book_of(session, store.PAPER)
        recent = session.execute(
            select(func.count(), func.sum(store.ModelOutcome.r)).where(
                store.ModelOutcome.at >= now - timedelta(hours=24)
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
        drawdown = 1 - book.equity / max(book.peak_equity, book.equity)
        book.drawdown_level = next_drawdown(Drawdown(book.drawdown_level), drawdown)
        last = store.latest_directive(session)
        acknowledged = self._acknowledged(session, last.version) if last else []
        directive = directive_for(self.facts(session), last.version + 1 if last else 1, utcnow())
        session.add(directive)
        session.flush()
        _, conflicts = resolve(self.claims(session))
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

    def claims(self, session: Session) -> list[Claim]:
        """Return what the subsystems want of the open positions."""
        reduce = controls.is_on(session, controls.BRAKE)
        claims = []
        for position in store.open_positions(session, store.PAPER):
            claims.append(Claim("PIL", position.symbol, position.advice))
            if reduce:
                claims.append(Claim("brake", position.symbol, "HOLD"))
        return claims
