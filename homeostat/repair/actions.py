"""The actions of playbooks: how each is carried out, and how its effect is observed.

`observe` looks at the world and never at what `act` returned, so an action that did nothing
cannot be taken for one that worked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeGuard

from pydantic import JsonValue
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.component import Component, Evidence
from homeostat.errors import BrokerUnavailableError, HomeostatError
from homeostat.repair.playbooks import ActionName, Step
from homeostat.settings import Settings
from homeostat.store import controls
from homeostat.store.trading import ModelAlias, ModelRecord
from homeostat.supervision import poison
from homeostat.supervision.processes import PoolControl, ProcessControl, ProcessInfo

#: The supervisor tells a process's start in whole seconds.
_START_GRAIN = timedelta(seconds=1)
#: What a stack's process is called where the failure names it by its role.
PROCESS_OF = {
    "workers.main": "worker",
    "workers.fix": "fix_worker",
    "kernels.scheduler": "beat",
    "kernels.api_server": "api",
}
#: States in which the supervisor is already bringing a process up.
_COMING_UP = frozenset({"RUNNING", "STARTING"})


class ActionFailedError(HomeostatError):
    """The action could not be carried out."""


@dataclass(frozen=True)
class Ground:
    """What an action stands on: whom it is for, and the ways to reach the system.

    `since` is when the failure was first seen. `transaction` opens a session that commits;
    `refresh` makes this process forget its settings and its component instances.
    """

    settings: Callable[[], Settings]
    component: str
    step: Step
    actor: str
    since: datetime
    find: Callable[[str], Component]
    refresh: Callable[[], None]
    transaction: Callable[[], AbstractContextManager[Session]]
    drop_connections: Callable[[], None]
    processes: ProcessControl
    pools: Callable[[], PoolControl]

    @property
    def target(self) -> str:
        """What the step is aimed at: its own target, or else the failing component."""
        return self.step.target or self.component


class Action(Protocol):
    """One kind of act with its post-condition."""

    def snapshot(self, ground: Ground) -> dict[str, JsonValue]:
        """Return what has to be known of the state before, to tell afterwards what changed."""

    def act(self, ground: Ground) -> bool:
        """Act; False where the world is as wanted already. Raises HomeostatError."""

    def observe(self, ground: Ground, before: Mapping[str, JsonValue]) -> Evidence:
        """Look whether the effect is there."""


class RestartComponent:
    """Makes the component's instance anew and boots it; its probe must pass."""

    def snapshot(self, ground: Ground) -> dict[str, JsonValue]:
        """Remember when it was asked for, so that older evidence does not count."""
        del ground
        return {"at": utcnow().isoformat()}

    def act(self, ground: Ground) -> bool:
        """Forget the instance and boot a new one."""
        ground.refresh()
        with ground.transaction() as session:
            ground.find(ground.target).boot(session)
        return True

    def observe(self, ground: Ground, before: Mapping[str, JsonValue]) -> Evidence:
        """Probe it; evidence from before the restart proves nothing."""
        with ground.transaction() as session:
            seen = ground.find(ground.target).probe(session)
        fresh = seen.at >= datetime.fromisoformat(str(before["at"]))
        return Evidence(
            claim=f"the probe of {ground.target} passes after the restart",
            passed=seen.passed and fresh,
            observed={"probe": seen.observed, "passed": seen.passed, "fresh": fresh},
        )


class RestartProcess:
    """Restarts a process of the stack, unless the supervisor did so already."""

    def snapshot(self, ground: Ground) -> dict[str, JsonValue]:
        """Remember the process id."""
        process = self._process(ground)
        return {"pid": process.pid, "running": process.running}

    def act(self, ground: Ground) -> bool:
        """Restart it; a process that came up after the failure, or is about to, is left alone."""
        process = self._process(ground)
        coming_up = process.running or process.state in _COMING_UP
        if coming_up and process.started_at >= ground.since - _START_GRAIN:
            return False
        ground.processes.restart(process.name)
        return True

    def observe(self, ground: Ground, before: Mapping[str, JsonValue]) -> Evidence:
        """See it run, started after the failure, and for as long as the step's `stays_s` says."""
        process = self._process(ground)
        younger = process.started_at >= ground.since - _START_GRAIN
        stays_s = ground.step.parameters.get("stays_s", 0)
        age_s = (utcnow() - process.started_at).total_seconds()
        stays = not _is_number(stays_s) or age_s >= stays_s
        return Evidence(
            claim=f"process {process.name} runs and was started after the failure",
            passed=process.running and younger and stays,
            observed={
                "pid_before": before.get("pid"),
                "pid": process.pid,
                "running": process.running,
                "started_at": process.started_at.isoformat(),
                "runs_for_s": round(age_s, 1),
            },
        )

    def _process(self, ground: Ground) -> ProcessInfo:
        wanted = PROCESS_OF.get(ground.target, ground.target)
        names = {wanted, wanted.rsplit(".", 1)[-1]}
        for process in ground.processes.processes():
            if process.name in names:
                return process
        raise ActionFailedError(f"The stack has no process for {ground.target!r}.")


class ReloadConfig:
    """Reads the settings anew; they must be usable."""

    def snapshot(self, ground: Ground) -> dict[str, JsonValue]:
        """Nothing of the state before is needed."""
        del ground
        return {}

    def act(self, ground: Ground) -> bool:
        """Forget the settings that were read."""
        ground.refresh()
        return True

    def observe(self, ground: Ground, before: Mapping[str, JsonValue]) -> Evidence:
        """Read them; raises SettingsError where they are not usable."""
        del before
        fields = ground.settings().model_dump(mode="json")
        shown = {name: fields[name] for name in ("mode", "log_level", "recovery")}
        return Evidence(claim="the settings can be read", passed=True, observed=shown)


class Reconnect:
    """Drops the connections of this process; database and broker must answer on new ones."""

    def snapshot(self, ground: Ground) -> dict[str, JsonValue]:
        """Nothing of the state before is needed."""
        del ground
        return {}

    def act(self, ground: Ground) -> bool:
        """Close the pool's connections."""
        ground.drop_connections()
        return True

    def observe(self, ground: Ground, before: Mapping[str, JsonValue]) -> Evidence:
        """Ask both for an answer."""
        del before
        with ground.transaction() as session:
            answer = session.execute(text("SELECT 1")).scalar()
        try:
            with Redis.from_url(ground.settings().redis, socket_timeout=3) as client:
                pong = bool(client.ping())
        except RedisError as error:
            raise BrokerUnavailableError(f"Redis does not answer ({error}).") from error
        return Evidence(
            claim="database and Redis answer on new connections",
            passed=answer == 1 and pong,
            observed={"database": answer == 1, "redis": pong},
        )


class SetControl:
    """Sets a switch that other components obey; it must be readable in another transaction."""

    def __init__(self, name: str, *, with_target: bool = False) -> None:
        """Take the switch's name; `with_target` adds the step's target to it."""
        self._name = name
        self._with_target = with_target

    def snapshot(self, ground: Ground) -> dict[str, JsonValue]:
        """Remember when the act began."""
        return {"at": utcnow().isoformat(), "control": self._control(ground)}

    def act(self, ground: Ground) -> bool:
        """Set it, with an end where the step gives minutes."""
        minutes = ground.step.parameters.get("minutes")
        until = utcnow() + timedelta(minutes=float(minutes)) if _is_number(minutes) else None
        with ground.transaction() as session:
            controls.set_on(
                session,
                self._control(ground),
                actor=ground.actor,
                reason=f"remedy for {ground.component}",
                until=until,
            )
        return True

    def observe(self, ground: Ground, before: Mapping[str, JsonValue]) -> Evidence:
        """Read it back."""
        name = self._control(ground)
        with ground.transaction() as session:
            held = controls.is_on(session, name)
            control = session.get(controls.Control, name)
            since = control.since if control else None
        fresh = since is not None and since >= datetime.fromisoformat(str(before["at"]))
        return Evidence(
            claim=f"the switch {name} holds",
            passed=held and fresh,
            observed={"held": held, "since": since.isoformat() if since else None},
        )

    def _control(self, ground: Ground) -> str:
        return self._name + (ground.target if self._with_target else "")


class GrowPool:
    """Gives the workers more children; the pool must be seen to be larger."""

    def snapshot(self, ground: Ground) -> dict[str, JsonValue]:
        """Remember the size."""
        return {"size": ground.pools().size()}

    def act(self, ground: Ground) -> bool:
        """Grow by the step's `by`, one where it gives none."""
        by = ground.step.parameters.get("by", 1)
        ground.pools().grow(int(by) if _is_number(by) else 1)
        return True

    def observe(self, ground: Ground, before: Mapping[str, JsonValue]) -> Evidence:
        """Count again."""
        size = ground.pools().size()
        old = before["size"]
        return Evidence(
            claim="the pool has more children than before",
            passed=isinstance(old, int) and size > old,
            observed={"before": old, "after": size},
        )


class RestorePool:
    """Sees that the pools have all their children again, and adds what is missing."""

    def snapshot(self, ground: Ground) -> dict[str, JsonValue]:
        """Remember the size that is wanted."""
        return {"wanted": ground.settings().worker_concurrency}

    def act(self, ground: Ground) -> bool:
        """Grow the pool by what is missing; the worker itself mostly was faster."""
        missing = ground.settings().worker_concurrency - ground.pools().size()
        if missing <= 0:
            return False
        ground.pools().grow(missing)
        return True

    def observe(self, ground: Ground, before: Mapping[str, JsonValue]) -> Evidence:
        """Count again."""
        size, wanted = ground.pools().size(), before["wanted"]
        return Evidence(
            claim="the pool has all its children",
            passed=isinstance(wanted, int) and size >= wanted,
            observed={"wanted": wanted, "size": size},
        )


class PurgePoison:
    """Moves undecodable messages off the queues; none may be left and none may be lost."""

    def snapshot(self, ground: Ground) -> dict[str, JsonValue]:
        """Count the poison and the quarantined."""
        with poison.connect(ground.settings()) as client:
            found = len(poison.find(client))
            return {"poison": found, "quarantined": _length(client)}

    def act(self, ground: Ground) -> bool:
        """Move each aside."""
        with poison.connect(ground.settings()) as client:
            moved = [poison.quarantine(client, found) for found in poison.find(client)]
        return any(moved)

    def observe(self, ground: Ground, before: Mapping[str, JsonValue]) -> Evidence:
        """Look again: the queues are clean and the quarantine holds what was moved."""
        with poison.connect(ground.settings()) as client:
            left, quarantined = len(poison.find(client)), _length(client)
        found, old = before["poison"], before["quarantined"]
        grown = isinstance(found, int) and isinstance(old, int) and quarantined >= old + found
        return Evidence(
            claim="undecodable messages were found, none is on a queue now, each is in quarantine",
            passed=bool(found) and left == 0 and grown,
            observed={"found": found, "left": left, "quarantined": quarantined},
        )


class DisableModel(SetControl):
    """Takes a model out of service; only one that the store knows, so that a name that no entry
    ever asks about cannot count as a remedy.
    """

    def __init__(self) -> None:
        """Set the switch of the step's target."""
        super().__init__(controls.MODEL_DISABLED, with_target=True)

    def act(self, ground: Ground) -> bool:
        """Set it; raises ActionFailedError where the target is no model."""
        with ground.transaction() as session:
            known = session.get(ModelRecord, ground.target) or session.get(
                ModelAlias, ground.target
            )
        if known is None:
            raise ActionFailedError(f"No model is named {ground.target!r}.")
        return super().act(ground)


def _length(client: Redis) -> int:
    rows = client.llen(poison.QUARANTINE)
    return rows if isinstance(rows, int) else 0


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


ACTIONS: Mapping[ActionName, Action] = {
    ActionName.RESTART_COMPONENT: RestartComponent(),
    ActionName.RESTART_PROCESS: RestartProcess(),
    ActionName.RELOAD_CONFIG: ReloadConfig(),
    ActionName.RECONNECT: Reconnect(),
    ActionName.PAUSE_TRADING: SetControl(controls.TRADING_PAUSED),
    ActionName.SAFE_PROFILE: SetControl(controls.SAFE_PROFILE),
    ActionName.DISABLE_MODEL: DisableModel(),
    ActionName.GROW_POOL: GrowPool(),
    ActionName.RESTORE_POOL: RestorePool(),
    ActionName.PURGE_POISON: PurgePoison(),
}
