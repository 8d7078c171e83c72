"""The timetable: one entry per periodic check. This is the only place where a cadence stands.

A plugin declares its own cadence in its spec. The beat (`workers.beat`) takes this table up at
start and publishes every tick that is due, neither missing nor doubling one.
"""

from __future__ import annotations

from homeostat.supervision.timetable import Entry, check, upkeep

ENTRIES: tuple[Entry, ...] = (
    # Control plane, by tier (spec: the twenty kernels).
    check("kernels.message_bus", every_s=10),
    check("kernels.immutable_log", every_s=60),
    check("kernels.secret_manager", every_s=300),
    check("kernels.governance", every_s=60),
    check("kernels.clarity_framework", every_s=60),
    check("kernels.verification_framework", every_s=60),
    check("kernels.infrastructure_manager", every_s=30),
    check("kernels.health_monitor", every_s=10),
    check("kernels.scheduler", every_s=10),
    check("kernels.trigger_mesh", every_s=30),
    check("kernels.self_healing", every_s=5),
    check("kernels.sandbox", every_s=60),
    check("kernels.coding_agent", every_s=30),
    check("kernels.librarian", every_s=300),
    check("kernels.memory_fusion", every_s=300),
    check("kernels.learning_integration", every_s=300),
    check("kernels.agentic_spine", every_s=10),
    check("kernels.meta_loop", every_s=300),
    check("kernels.voice_conversation", every_s=60),
    check("kernels.api_server", every_s=30),
    # The trading workload.
    check("trading.ai_hfos", every_s=60),
    check("trading.portfolio_balancer", every_s=60),
    check("trading.profit_amplification", every_s=900),
    check("trading.position_intelligence", every_s=60),
    check("trading.model_supervisor", every_s=60),
    check("trading.retraining_orchestrator", every_s=3600),
    check("trading.self_healing", every_s=5),
    check("trading.universe_os", every_s=30),
    check("trading.dynamic_tpsl", every_s=30),
    # The house itself.
    upkeep("trade.cycle", every_s=60),
    upkeep("trade.reconcile", every_s=60),
    upkeep("trade.prices", every_s=60),
    upkeep("models.predict", every_s=60),
    upkeep("upkeep.sweep", every_s=5),
    upkeep("upkeep.retain", every_s=3600),
    upkeep("upkeep.snapshot", every_s=3600),
    upkeep("incidents.follow_up", every_s=30),
    upkeep("fix_analysis.refactor", every_s=3600),
)
