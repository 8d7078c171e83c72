"""Playbooks: which known remedy fits which failure, as data that a person can read and extend.

A playbook is an ordered list of actions, each with the time within which its effect must be
seen. Which code carries an action out and how its effect is observed stands in
`homeostat.repair.actions`. A failure in the code (a wrong call, a missing name) has no playbook
on purpose: that is the coding agent's work, and a restart would only hide it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

from pydantic import JsonValue


class ActionName(StrEnum):
    """What a step of a playbook can do."""

    HEAL_COMPONENT = "heal_component"
    RESTART_COMPONENT = "restart_component"
    RESTART_PROCESS = "restart_process"
    RELOAD_CONFIG = "reload_config"
    RECONNECT = "reconnect"
    PAUSE_TRADING = "pause_trading"
    SAFE_PROFILE = "safe_profile"
    DISABLE_MODEL = "disable_model"
    GROW_POOL = "grow_pool"
    RESTORE_POOL = "restore_pool"
    PURGE_POISON = "purge_poison"
    FREE_SPACE = "free_space"


@dataclass(frozen=True)
class Step:
    """One action. Its post-condition must be seen within `within_s` seconds of the act; otherwise
    the act is tried again, `tries` times in all, after `backoff_s` doubled each time.
    """

    action: ActionName
    target: str = ""
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)
    within_s: float = 10.0
    tries: int = 2
    backoff_s: float = 0.5


@dataclass(frozen=True)
class Playbook:
    """A remedy for failures whose exception type and component fit these patterns."""

    name: str
    summary: str
    types: tuple[str, ...]
    steps: tuple[Step, ...]
    components: tuple[str, ...] = ("*",)
    risk: str = "low"

    def fits(self, error_type: str, component: str) -> bool:
        """Return whether the playbook is made for such a failure; patterns are of `fnmatch`."""
        # A stored type may be qualified or bare, so both readings are tried.
        readings = (error_type, error_type.rsplit(".", 1)[-1])
        return any(fnmatchcase(component, pattern) for pattern in self.components) and any(
            fnmatchcase(reading, pattern) for pattern in self.types for reading in readings
        )


_A = ActionName
#: As long as the column that keeps what was carried out.
_LONGEST_NAME = 64

#: What ships, special before general: where several fit, the first one not yet tried is taken
#: unless outcomes have taught otherwise.
SHIPPED: tuple[Playbook, ...] = (
    Playbook(
        "purge-poison",
        "Move messages that no worker can decode off the queues.",
        ("DecodeError", "InvalidTaskError", "PoisonMessage*", "CrashLoop*"),
        (Step(_A.PURGE_POISON, tries=1, within_s=2.0),),
    ),
    Playbook(
        "whole-pool",
        "See the pool whole again after a child was lost; its worker is left running.",
        ("PoolChildLost*",),
        (Step(_A.RESTORE_POOL, within_s=15.0),),
    ),
    Playbook(
        "restart-process",
        "Restart the process that died or hangs, and see it run, started after the failure.",
        ("WorkerLost*", "ProcessLost*", "BeatLost*", "BeatBehind*", "HeartbeatGap*"),
        (Step(_A.RESTART_PROCESS, within_s=20.0),),
        components=("workers.*", "kernels.scheduler", "kernels.api_server"),
    ),
    Playbook(
        "restart-what-leaks",
        "Restart a process whose memory grows without end, and see it run, started since.",
        ("MemoryLeak*",),
        (Step(_A.RESTART_PROCESS, within_s=60.0, tries=1),),
        # Redis is left out: what it holds are messages, and a restart would bring them back.
        components=tuple(f"workers.{name}" for name in ("worker", "fix_worker", "api", "flower")),
        # A slope leaves time: a person decides when the process may end what it works on.
        risk="high",
    ),
    Playbook(
        "see-the-beat-keep-up",
        "See that the beat sends what is due; health_monitor sends the lost ticks again.",
        ("MissedBeat*",),
        (Step(_A.RESTART_COMPONENT, tries=3, backoff_s=5.0),),
        components=("kernels.scheduler",),
    ),
    Playbook(
        "restart-and-watch",
        "Restart a process that keeps ending, and see it stay up for ten seconds.",
        ("CrashLoop*",),
        (Step(_A.RESTART_PROCESS, parameters={"stays_s": 10}, within_s=30.0, tries=1),),
        components=("workers.*",),
    ),
    Playbook(
        "reconnect",
        "Drop this process's connections, connect anew, and see database and broker answer.",
        (
            "StoreUnavailableError",
            "BrokerUnavailableError",
            "OperationalError",
            "InterfaceError",
            "ConnectionError",
            "ConnectionRefusedError",
            "ConnectionResetError",
            "BrokenPipeError",
            "BusyLoadingError",
        ),
        (Step(_A.RECONNECT, within_s=15.0, tries=4),),
    ),
    Playbook(
        "reload-configuration",
        "Read the settings anew, and see the component's probe pass with them.",
        ("SettingsError", "ConfigDrift*"),
        (Step(_A.RELOAD_CONFIG), Step(_A.RESTART_COMPONENT)),
    ),
    Playbook(
        "grow-pool",
        "Give the workers one more child, and see the pool grown.",
        ("QueueSpike*", "LatencySpike*", "QueueDepth*"),
        (Step(_A.GROW_POOL, within_s=20.0),),
    ),
    Playbook(
        "disable-model",
        "Take a model out of service that does not match its record.",
        ("ModelIntegrity*", "ModelCorrupt*", "ModelArtefact*"),
        (Step(_A.DISABLE_MODEL),),
        risk="medium",
    ),
    Playbook(
        "pause-trading",
        "Open no new position until the exchange or its data are sound again.",
        ("Exchange*", "StaleMarketData*", "UnknownOrder*", "RateLimit*"),
        (Step(_A.PAUSE_TRADING, parameters={"minutes": 5}),),
        components=("trading.*",),
        risk="medium",
    ),
    Playbook(
        "safe-profile",
        "Trade with the most careful profile while the system is under pressure.",
        ("ResourcePressure*", "Drawdown*"),
        (Step(_A.SAFE_PROFILE, parameters={"minutes": 15}),),
        risk="medium",
    ),
    Playbook(
        "free-space",
        "Forget what is older than its time, and see the state folder take less room.",
        ("ResourceForecast*",),
        (Step(_A.FREE_SPACE, within_s=5.0, tries=1),),
        components=("kernels.infrastructure_manager",),
    ),
    Playbook(
        "restart-component",
        "Make the component anew, and see its probe pass.",
        ("ProbeFailedError", "TimeLimitExceeded", "SoftTimeLimitExceeded", "TimeoutError"),
        (Step(_A.RESTART_COMPONENT, tries=3),),
    ),
)


def own(component: str, remedies: Mapping[str, str]) -> tuple[Playbook, ...]:
    """Return the remedies that a component declares (type pattern → remedy) as playbooks."""
    return tuple(
        Playbook(
            f"{component}:{remedy}"[:_LONGEST_NAME],
            f"Let {component} carry out its own remedy {remedy}, and see its probe pass.",
            (pattern,),
            (Step(_A.HEAL_COMPONENT, parameters={"remedy": remedy}, tries=1),),
            components=(component,),
        )
        for pattern, remedy in remedies.items()
    )


def fitting(
    error_type: str, component: str, playbooks: Iterable[Playbook] = SHIPPED
) -> list[Playbook]:
    """Return the playbooks made for such a failure, in the order in which they are listed."""
    return [playbook for playbook in playbooks if playbook.fits(error_type, component)]


def named(name: str, playbooks: Iterable[Playbook] = SHIPPED) -> Playbook:
    """Return the playbook of that name; raises KeyError where there is none."""
    return {playbook.name: playbook for playbook in playbooks}[name]
