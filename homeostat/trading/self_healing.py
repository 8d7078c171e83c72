"""The health of thirteen targets, and the safety policy that follows from it.

Each level is measured from something that could have come out otherwise: a lease, the age of a
price, a row written and read back. What cannot be measured is unknown, and an unknown target
that trading hangs on blocks new entries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.store import trading as store
from homeostat.store.remedies import RemedyRun, RunState
from homeostat.store.trading import SafetyPolicy
from homeostat.trading import health
from homeostat.trading.health import Level, Reading

#: A policy is believed for six checks of five seconds.
LIFE = timedelta(seconds=30)
#: The same action for the same target is asked for again only after this long.
ASK_AGAIN = timedelta(minutes=5)


class Policy(StrEnum):
    """What trading may do, from everything to nothing."""

    ALLOW_ALL = "ALLOW_ALL"
    NO_NEW_TRADES = "NO_NEW_TRADES"
    DEFENSIVE_EXIT = "DEFENSIVE_EXIT"
    EMERGENCY_SHUTDOWN = "EMERGENCY_SHUTDOWN"


class Action(StrEnum):
    """What is asked of the self-healing kernel."""

    RESTART_SUBSYSTEM = "RESTART_SUBSYSTEM"
    RELOAD_CONFIG = "RELOAD_CONFIG"
    PAUSE_TRADING = "PAUSE_TRADING"
    SAFE_PROFILE = "SAFE_PROFILE"
    DISABLE_MODEL = "DISABLE_MODEL"


#: The kernel's playbook for each action.
PLAYBOOKS = {
    Action.RESTART_SUBSYSTEM: "restart-component",
    Action.RELOAD_CONFIG: "reload-configuration",
    Action.PAUSE_TRADING: "pause-trading",
    Action.SAFE_PROFILE: "safe-profile",
    Action.DISABLE_MODEL: "disable-model",
}


@dataclass(frozen=True)
class Target:
    """One thing that is watched: how it is read, what to do about it, who it is."""

    read: Callable[[health.Ground], Reading]
    action: Action
    component: str
    #: Whether trading blind of it may lose money at once.
    impacts_trading: bool = True


_RESTART = Action.RESTART_SUBSYSTEM

TARGETS: Mapping[str, Target] = {
    "data_feed": Target(health.data_feed, Action.RELOAD_CONFIG, "trading.universe_os"),
    "exchange_connection": Target(
        health.exchange_connection, Action.PAUSE_TRADING, "trading.portfolio_balancer"
    ),
    "ai_model": Target(health.ai_model, Action.DISABLE_MODEL, "trading.model_supervisor", False),
    "event_executor": Target(health.event_executor, Action.SAFE_PROFILE, "trading.ai_hfos"),
    "orchestrator": Target(health.orchestrator, _RESTART, "trading.ai_hfos"),
    "portfolio_balancer": Target(
        health.lease_of("trading.portfolio_balancer"), _RESTART, "trading.portfolio_balancer"
    ),
    "model_supervisor": Target(
        health.lease_of("trading.model_supervisor"), _RESTART, "trading.model_supervisor", False
    ),
    "retraining_orchestrator": Target(
        health.lease_of("trading.retraining_orchestrator"),
        _RESTART,
        "trading.retraining_orchestrator",
        False,
    ),
    "position_monitor": Target(
        health.lease_of("trading.position_intelligence"), _RESTART, "trading.position_intelligence"
    ),
    "risk_guard": Target(health.risk_guard, _RESTART, "kernels.governance"),
    "database": Target(health.database, Action.SAFE_PROFILE, "trading.self_healing"),
    "universe_os": Target(
        health.lease_of("trading.universe_os"), Action.RELOAD_CONFIG, "trading.universe_os"
    ),
    "logging": Target(health.logging, Action.SAFE_PROFILE, "kernels.immutable_log", False),
}


def policy_for(levels: Mapping[str, Level]) -> Policy:
    """Return the policy for the targets' levels; a target that is missing counts as unknown."""
    told = {name: levels.get(name, Level.UNKNOWN) for name in TARGETS}
    if Level.FAILED in told.values():
        return Policy.EMERGENCY_SHUTDOWN
    critical = [name for name, level in told.items() if level is Level.CRITICAL]
    if any(TARGETS[name].impacts_trading for name in critical):
        return Policy.DEFENSIVE_EXIT
    unknown = any(
        level is Level.UNKNOWN and TARGETS[name].impacts_trading for name, level in told.items()
    )
    if critical or unknown or Level.DEGRADED in told.values():
        return Policy.NO_NEW_TRADES
    return Policy.ALLOW_ALL


def overall(levels: Mapping[str, Level]) -> Level:
    """Return the worst level of the thirteen."""
    return max((levels.get(name, Level.UNKNOWN) for name in TARGETS), key=list(Level).index)


class Healer(Protocol):
    """What is asked of `kernels.self_healing`."""

    def request(
        self, session: Session, playbook: str, *, component: str, asked_by: str, target: str
    ) -> str:
        """Ask for a playbook and return the run's id."""


@dataclass
class _Seen:
    readings: dict[str, Reading] = field(default_factory=dict)

    @property
    def levels(self) -> dict[str, Level]:
        return {name: reading.level for name, reading in self.readings.items()}


class SelfHealing(Component):
    """Watches the thirteen targets and publishes the safety policy."""

    spec = ComponentSpec(
        name="self_healing",
        wing=Wing.TRADING,
        tier=6,
        summary="Measures thirteen targets and publishes the safety policy that follows.",
        needs=("kernels.self_healing",),
    )

    def readings(self, session: Session) -> dict[str, Reading]:
        """Measure every target; one that cannot be measured is unknown, with the reason."""
        ground = health.Ground(self.context.settings, session, utcnow())
        seen: dict[str, Reading] = {}
        for name, target in TARGETS.items():
            try:
                seen[name] = target.read(ground)
            except Exception as error:  # noqa: BLE001  # whatever broke the reading is its finding
                seen[name] = Reading(Level.UNKNOWN, f"{type(error).__name__}: {error}")
        return seen

    def probe(self, session: Session) -> Evidence:
        """Measure all targets, and see that a planted failure changes the policy."""
        watch = Stopwatch()
        seen = _Seen(self.readings(session))
        sound = policy_for(dict.fromkeys(TARGETS, Level.HEALTHY))
        broken = policy_for({**seen.levels, "database": Level.FAILED})
        counts = {level.value: list(seen.levels.values()).count(level) for level in Level}
        measured = seen.readings["database"].level
        return Evidence(
            claim="thirteen targets are accounted for, and a failed one shuts trading down",
            passed=sum(counts.values()) == 13
            and sound is Policy.ALLOW_ALL
            and broken is Policy.EMERGENCY_SHUTDOWN
            and measured is not Level.UNKNOWN,
            observed={
                "levels": dict(counts),
                "targets": {name: reading.reason for name, reading in seen.readings.items()},
                "policy_when_database_failed": broken,
            },
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Measure, publish the policy, and ask the kernel for what would help."""
        seen = _Seen(self.readings(session))
        policy = policy_for(seen.levels)
        asked = self._ask(session, seen.readings)
        self._publish(session, policy, seen, asked)
        version = store.acknowledge(session, self.spec.full_name)
        counts = {level.value: list(seen.levels.values()).count(level) for level in Level}
        return CycleResult(
            work=len(seen.readings),
            observed={
                "overall": overall(seen.levels),
                "policy": policy,
                "levels": dict(counts),
                "not_healthy": {
                    name: f"{reading.level}: {reading.reason}"
                    for name, reading in seen.readings.items()
                    if reading.level is not Level.HEALTHY
                },
                "actions": list(asked),
                "verified_actions": self._verified(session),
                "directive": version,
                "due_at": due_at.isoformat(),
            },
        )

    def _publish(
        self, session: Session, policy: Policy, seen: _Seen, asked: list[JsonValue]
    ) -> None:
        now = utcnow()
        targets = {name: reading.as_json() for name, reading in seen.readings.items()}
        last = store.latest_policy(session)
        if (
            last is not None
            and last.policy == policy
            and not asked
            and _levels(last) == {name: level.value for name, level in seen.levels.items()}
        ):
            # Nothing changed: the row that says so lives on.
            last.expires_at, last.targets = now + LIFE, targets
            return
        session.add(
            SafetyPolicy(
                at=now,
                expires_at=now + LIFE,
                policy=policy,
                overall=overall(seen.levels),
                targets=targets,
                actions=asked,
            )
        )
        session.flush()

    def _ask(self, session: Session, readings: Mapping[str, Reading]) -> list[JsonValue]:
        healer: Healer = self.need("kernels.self_healing")
        asked: list[JsonValue] = []
        for name, reading in readings.items():
            if reading.level not in (Level.CRITICAL, Level.FAILED):
                continue
            target = TARGETS[name]
            cause = f"trading.self_healing:{name}"
            statement = select(RemedyRun.id).where(
                RemedyRun.cause == cause, RemedyRun.started_at > utcnow() - ASK_AGAIN
            )
            if session.scalar(statement.limit(1)) is not None:
                continue
            playbook = PLAYBOOKS[target.action]
            subject = reading.subject or target.component
            healer.request(
                session, playbook, component=target.component, asked_by=cause, target=subject
            )
            asked.append({"target": name, "action": target.action, "playbook": playbook})
        return asked

    def _verified(self, session: Session) -> int:
        statement = select(RemedyRun.id).where(
            RemedyRun.cause.like("trading.self_healing:%"),
            RemedyRun.state == RunState.VERIFIED,
            RemedyRun.started_at > utcnow() - timedelta(days=1),
        )
        return len(session.scalars(statement).all())


def _levels(policy: SafetyPolicy) -> dict[str, Any]:
    return {name: told["level"] for name, told in policy.targets.items()}
