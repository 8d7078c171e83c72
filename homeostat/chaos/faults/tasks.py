"""Faults that a task is itself."""

from __future__ import annotations

from homeostat.chaos.faults.fault import Fault, FaultNotPossibleError, Plan
from homeostat.chaos.ground import alive, await_true
from homeostat.chaos.load import PROBE_PRIORITY, Told, enqueue
from homeostat.chaos.rollback import EndTask
from homeostat.chaos.scenario import Proof
from homeostat.clock import new_id

#: How long the task may take to begin, in seconds.
BEGIN_S = 20.0


class EndlessTask(Fault):
    """A task that never ends and takes no notice of its soft limit."""

    def plan(self) -> Plan:
        """Name it."""
        key = f"endless:{new_id()}"
        return Plan(key=key, undo=[EndTask(key=key)])

    def strike(self, plan: Plan) -> None:
        """Ask for it, and wait until it runs."""
        told = enqueue("stress.endless", {"key": plan.key}, plan.key, priority=PROBE_PRIORITY)
        started = await_true(lambda: self.starts(plan), BEGIN_S)
        if told is not Told.OK or not started:
            raise FaultNotPossibleError(f"The endless task did not begin within {BEGIN_S:.0f} s.")
        plan.victims["child"] = started[-1].pid

    def happened(self, plan: Plan) -> Proof:
        """It has begun, and its process lives."""
        pid = plan.victims["child"]
        return self.proof("the endless task runs", held=alive(pid), pid=pid)

    def remedied(self, plan: Plan) -> Proof | None:
        """Its process was killed by the hard limit."""
        pid = plan.victims["child"]
        return self.proof("the endless task was ended", held=not alive(pid), pid=pid)
