"""Acts on components, processes and connections: made anew, they must be seen to work."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from pydantic import JsonValue
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import text

from homeostat.clock import utcnow
from homeostat.component import Evidence
from homeostat.errors import BrokerUnavailableError
from homeostat.repair.actions.ground import ActionFailedError, Ground, is_number, probed_since
from homeostat.supervision.contracts import CannotUndoError
from homeostat.supervision.processes import ProcessInfo

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
        return probed_since(ground, before)

    def undo(self, ground: Ground, before: Mapping[str, JsonValue]) -> None:
        """Nothing outside this process was touched, so nothing is left to take back."""
        del ground, before


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
        stays = not is_number(stays_s) or age_s >= stays_s
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

    def undo(self, ground: Ground, before: Mapping[str, JsonValue]) -> None:
        """There is no way back to the process that was; raises CannotUndoError."""
        del before
        raise CannotUndoError(f"A restart of {ground.target} cannot be taken back.")

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

    def undo(self, ground: Ground, before: Mapping[str, JsonValue]) -> None:
        """Nothing outside this process was touched, so nothing is left to take back."""
        del ground, before


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

    def undo(self, ground: Ground, before: Mapping[str, JsonValue]) -> None:
        """Nothing outside this process was touched, so nothing is left to take back."""
        del ground, before
