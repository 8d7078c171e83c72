"""From facts to a directive: health, drawdown, risk mode, and what each mode allows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from homeostat.component import State
from homeostat.store.trading import Directive

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
