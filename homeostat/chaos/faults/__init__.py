"""Faults by name. Each is planned (its victim and its way back), then struck, then proven."""

from __future__ import annotations

from homeostat.chaos.faults import broker, processes, store, tasks
from homeostat.chaos.faults.fault import Fault, FaultNotPossibleError, Plan

FAULTS: dict[str, type[Fault]] = {
    "kill_pool_child": processes.KillPoolChild,
    "kill_processes": processes.KillProcesses,
    "stop_process": processes.StopProcess,
    "lose_broker_data": broker.LoseData,
    "duplicate_deliveries": broker.DuplicateDeliveries,
    "poison_message": broker.PoisonMessage,
    "lock_store": store.LockStore,
    "endless_task": tasks.EndlessTask,
}

__all__ = ["FAULTS", "Fault", "FaultNotPossibleError", "Plan"]
