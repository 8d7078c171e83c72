"""The scenarios that ship, as data; `fault` names a class of `homeostat.chaos.faults`.

Bounds are three times the p95 that was measured on a quiet machine of two cores. A killed
process was back in 3 to 6 s and a killed child's siblings went on within 0.6 s.
"""

from __future__ import annotations

from homeostat.chaos.scenario import Remedy, Scenario, Severity
from homeostat.errors import HomeostatError

_KILLED_PROCESS = "3 × p95 of a killed process being back (6 s measured)"
_HYPOTHESIS = (
    "every process runs, the broker answers a client that does not retry, the beat ticks, and a "
    "job asked for now has its effect within seconds"
)

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        id="P1",
        group="processes",
        title="kill -9 a pool child in the middle of a task",
        severity=Severity.MILD,
        fault="kill_pool_child",
        target="worker",
        hypothesis=_HYPOTHESIS,
        noticed_by="worker:workers.main",
        remedy=Remedy.REDELIVERY,
        bound_s=12,
        bound_source="3 × the slowest of redelivery, a new child and steady state (4 s measured)",
        rollback="start the worker, unless it runs",
        control="early acknowledgement, no sweeper",
        weight=2,
        incompatible=("P2", "B1", "B3"),
    ),
    Scenario(
        id="P2",
        group="processes",
        title="kill -9 a worker's main process",
        severity=Severity.MODERATE,
        fault="kill_processes",
        target="worker",
        hypothesis=_HYPOTHESIS,
        noticed_by="worker:workers.main",
        remedy=Remedy.PROCESS_RESTART,
        bound_s=18,
        bound_source=_KILLED_PROCESS,
        rollback="start the worker, unless it runs",
        control="the supervisor restarts nothing, early acknowledgement, no sweeper",
        weight=2,
        incompatible=("P1", "P4"),
    ),
    Scenario(
        id="P3",
        group="processes",
        title="kill -9 the active beat",
        severity=Severity.MILD,
        fault="kill_processes",
        target="beat",
        hypothesis=_HYPOTHESIS,
        noticed_by="beat:workers.beat",
        remedy=Remedy.PROCESS_RESTART,
        bound_s=20,
        bound_source=_KILLED_PROCESS,
        rollback="start the beat, unless it runs",
        control="the supervisor restarts nothing",
    ),
    Scenario(
        id="P4",
        group="processes",
        title="stop (SIGSTOP) the main worker",
        severity=Severity.MODERATE,
        fault="stop_process",
        target="worker",
        arguments={"seconds": 0},
        hypothesis=_HYPOTHESIS,
        noticed_by="worker:workers.main",
        remedy=Remedy.PROCESS_RESTART,
        bound_s=60,
        bound_source="15 s of silence until a gap is called, then 3 × p95 of a restart (12 s)",
        rollback="SIGCONT",
        control="nobody restarts a silent worker",
        incompatible=("P1", "P2"),
    ),
    Scenario(
        id="P5",
        group="processes",
        title="kill -9 the API and Flower",
        severity=Severity.MILD,
        fault="kill_processes",
        target="api,flower",
        hypothesis=_HYPOTHESIS,
        noticed_by="worker:workers.api",
        remedy=Remedy.PROCESS_RESTART,
        bound_s=20,
        bound_source=_KILLED_PROCESS,
        rollback="start both, unless they run",
        control="the supervisor restarts nothing",
    ),
    Scenario(
        id="P6",
        group="processes",
        title="a task that never ends",
        severity=Severity.MODERATE,
        fault="endless_task",
        target="worker",
        hypothesis=_HYPOTHESIS,
        noticed_by="task:stress.endless",
        remedy=Remedy.TIME_LIMIT,
        bound_s=30,
        bound_source="the hard limit of 6 s, then 3 × p95 of a new child (2 s), twice",
        rollback="the hard limit ends it in any case",
        control="none yet: the limits are part of the task",
    ),
    Scenario(
        id="B1",
        group="broker",
        title="kill -9 Redis and restart it",
        severity=Severity.SEVERE,
        fault="kill_processes",
        target="redis",
        hypothesis=_HYPOTHESIS,
        noticed_by="worker:workers.redis",
        remedy=Remedy.PROCESS_RESTART,
        bound_s=30,
        bound_source="3 × p95 of Redis back and the workers connected again (10 s measured)",
        rollback="start Redis, unless it runs",
        control="the supervisor restarts nothing",
        weight=2,
        incompatible=("P1", "B2", "B3", "B7"),
    ),
    Scenario(
        id="B2",
        group="broker",
        title="freeze Redis for 10 s",
        severity=Severity.MODERATE,
        fault="stop_process",
        target="redis",
        arguments={"seconds": 10},
        hypothesis=_HYPOTHESIS,
        noticed_by="task:kernels.message_bus",
        remedy=Remedy.RESUME,
        bound_s=40,
        bound_source="10 s of freeze, then 3 × p95 of the workers' time-out and return (10 s)",
        rollback="SIGCONT",
        control="the freeze lasts until the rollback",
        incompatible=("B1", "B3", "P1"),
    ),
    Scenario(
        id="B3",
        group="broker",
        title="lose all of the broker's data",
        severity=Severity.SEVERE,
        fault="lose_broker_data",
        target="redis",
        hypothesis=_HYPOTHESIS,
        noticed_by="",
        remedy=Remedy.OUTBOX_RESEND,
        bound_s=60,
        bound_source="5 s back-off, 5 s sweep, 50 jobs; 3 × p95 (20 s measured)",
        rollback="none: what is lost is lost; the store holds the truth",
        control="no sweeper",
        incompatible=("B1", "B2", "P1"),
    ),
    Scenario(
        id="B7",
        group="broker",
        title="every waiting message delivered three times",
        severity=Severity.MODERATE,
        fault="duplicate_deliveries",
        target="chaos",
        hypothesis=_HYPOTHESIS,
        noticed_by="",
        remedy=Remedy.DEDUPLICATION,
        bound_s=30,
        bound_source="3 × p95 of 90 short tasks (10 s)",
        rollback="none needed: duplicates are worked off",
        control="effects without the look at the job's row",
        incompatible=("B1", "B3"),
    ),
    Scenario(
        id="S2",
        group="store",
        title="the database locked for 5 s",
        severity=Severity.MODERATE,
        fault="lock_store",
        target="store",
        arguments={"seconds": 5},
        hypothesis=_HYPOTHESIS,
        noticed_by="",
        remedy=Remedy.WAIT_AND_RETRY,
        bound_s=30,
        bound_source="5 s of lock, then 3 × p95 of the backlog (8 s)",
        rollback="the lock belongs to the runner's connection and ends with it",
        control="none yet: the busy time-out and the retries stay on",
    ),
)

BY_ID = {scenario.id: scenario for scenario in SCENARIOS}
#: What a stress run injects unless told otherwise: each has an executable control.
STANDARD = ("P1", "P2", "B1")


class UnknownScenarioError(HomeostatError):
    """No scenario has that id; `homeostat chaos list` shows them."""

    exit_code = 64


def find(name: str) -> Scenario:
    """Return the scenario of that id; raises UnknownScenarioError."""
    try:
        return BY_ID[name.upper()]
    except KeyError:
        raise UnknownScenarioError(
            f"No scenario is named {name!r}; `homeostat chaos list` shows them."
        ) from None
