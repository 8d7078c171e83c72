"""Faults on processes: killed, or stopped where they stand."""

from __future__ import annotations

import signal
import threading

import psutil
from pydantic import JsonValue

from homeostat.chaos.faults.fault import Fault, FaultNotPossibleError, Plan
from homeostat.chaos.ground import alive, await_true, stopped
from homeostat.chaos.load import PROBE_PRIORITY
from homeostat.chaos.rollback import Resume, Start
from homeostat.chaos.scenario import Proof
from homeostat.store import effects
from homeostat.store.database import reading
from homeostat.store.effects import EffectStart

#: The victim's task works this long, in seconds, so that the kill finds it in the middle.
WORK_S = 3.0
#: How long the victim's task may take to begin, in seconds.
BEGIN_S = 20.0


class KillPoolChild(Fault):
    """`kill -9` of the pool child that works on a task at this moment."""

    def plan(self) -> Plan:
        """Ask for a task that announces its pid, and wait until it works."""
        key, _ = self.load.submit(work_s=WORK_S, announce=True, priority=PROBE_PRIORITY)
        started = await_true(lambda: self._starts(key), BEGIN_S)
        if not started:
            raise FaultNotPossibleError(f"The victim's task did not begin within {BEGIN_S:.0f} s.")
        pid = started[-1].pid
        if pid not in self.ground.pool(self.target):
            raise FaultNotPossibleError(f"The pid {pid} is no pool child of {self.target}.")
        pool: list[JsonValue] = [*self.ground.pool(self.target)]
        clues: dict[str, JsonValue] = {"pool": pool}
        return Plan(victims={"child": pid}, undo=[Start(process=self.target)], key=key, clues=clues)

    def strike(self, plan: Plan) -> None:
        """Kill it."""
        self.ground.send_signal(plan.victims["child"], signal.SIGKILL)

    def happened(self, plan: Plan) -> Proof:
        """The pid is gone, and its task has had no effect."""
        pid = plan.victims["child"]
        gone = await_true(lambda: not alive(pid), 2.0)
        with reading() as session:
            done = bool(effects.counts(session, [plan.key]))
        return self.proof(
            "the pool child is dead and its task was in the middle",
            held=gone and not done,
            pid=pid,
            gone=gone,
            effect_before_the_kill=done,
        )

    def remedied(self, plan: Plan) -> Proof | None:
        """The same task began again in another process, and the pool is whole again."""
        pids = [start.pid for start in self._starts(plan.key)]
        pool = self.ground.pool(self.target)
        before = plan.clues["pool"]
        whole = isinstance(before, list) and len(pool) >= len(before)
        return self.proof(
            "the task was delivered to another process and the pool is whole again",
            held=len(set(pids)) > 1 and whole,
            pids=list(pids),
            pool=list(pool),
        )

    @staticmethod
    def _starts(key: str) -> list[EffectStart]:
        with reading() as session:
            return list(effects.starts_of(session, key))


class KillProcesses(Fault):
    """`kill -9` of the main processes named in `target`, separated by commas."""

    @property
    def _names(self) -> list[str]:
        return self.target.split(",")

    def plan(self) -> Plan:
        """Note the pids."""
        return Plan(
            victims=self.pids_of(self._names),
            undo=[Start(process=name) for name in self._names],
        )

    def strike(self, plan: Plan) -> None:
        """Kill them all."""
        for pid in plan.victims.values():
            self.ground.send_signal(pid, signal.SIGKILL)

    def happened(self, plan: Plan) -> Proof:
        """The pids are gone."""
        gone = await_true(lambda: not any(map(alive, plan.victims.values())), 2.0)
        return self.proof(f"{self.target} is dead", held=gone, **plan.victims)

    def remedied(self, plan: Plan) -> Proof | None:
        """Each runs again under another pid."""
        pids = self.ground.pids()
        new = {name: pids.get(name) for name in self._names}
        held = all(pid is not None and pid != plan.victims[name] for name, pid in new.items())
        return self.proof(f"{self.target} runs under a new pid", held=held, **new)


class StopProcess(Fault):
    """SIGSTOP of a process, for `seconds`, or until somebody notices where that is 0.

    A control run (recovery off) is not let off after that time.
    """

    def plan(self) -> Plan:
        """Note the pid, and SIGCONT as the way back."""
        victims = self.pids_of([self.target])
        pid = victims[self.target]
        created = psutil.Process(pid).create_time()
        return Plan(victims=victims, undo=[Resume(pid=pid, created=created)])

    def strike(self, plan: Plan) -> None:
        """Stop it, and let it go on after its time."""
        pid = plan.victims[self.target]
        self.ground.send_signal(pid, signal.SIGSTOP)
        seconds = float(str(self.arguments.get("seconds", 0)))
        if seconds and self.ground.settings.recovery:
            steps = plan.undo
            timer = threading.Timer(seconds, lambda: [s.carry_out(self.ground) for s in steps])
            timer.daemon = True
            timer.start()

    def happened(self, plan: Plan) -> Proof:
        """The kernel says that it is stopped."""
        pid = plan.victims[self.target]
        held = await_true(lambda: stopped(pid), 2.0)
        return self.proof(f"{self.target} is stopped", held=held, pid=pid)

    def remedied(self, plan: Plan) -> Proof | None:
        """It goes on, or runs under another pid."""
        del plan
        pid = self.ground.pids().get(self.target)
        held = pid is not None and not stopped(pid)
        return self.proof(f"{self.target} goes on", held=held, pid=pid)
