"""What a stress run observed: one shape a section, and `Facts` that holds them all.

`None` in a field means that nobody looked, and is printed as NOT TESTED. Times are aware UTC,
durations seconds unless the name says `_ms`, memory in MB (10^6 bytes).
"""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from homeostat.chaos.scenario import FaultWindow, ScenarioResult
from homeostat.component import State
from homeostat.stress.boot_facts import BootFacts

#: Raised when a key of the JSON report changes its meaning.
SCHEMA_VERSION = 1


class Record(BaseModel):
    """A part of the report; unknown keys are refused, so that a misspelt one is found."""

    model_config = ConfigDict(extra="forbid")


class InputFacts(Record):
    """What the workload was fed with."""

    kind: str = Field(description="`generator` or `recorded`.")
    seed: int | None = None
    source: str = ""
    symbols: int | None = None
    run_seed: int = Field(description="Seed of the waves and the load.")


class CadenceRow(Record):
    """One beat entry's ledger. `expected` comes from the timetable, not from the beat.

    `missed`, `late` and `doubled` count what happened outside the windows of injected faults;
    `missed_in_fault` and `doubled_in_fault` what a declared fault explains.
    """

    entry: str
    task: str
    interval_s: float
    expected: int
    run: int
    late: int
    missed: int
    doubled: int
    off_grid: int = Field(0, description="Runs for a time at which the entry was not due.")
    overrun: int = Field(0, description="Late ticks that started after the next one was due.")
    late_in_fault: int = 0
    missed_in_fault: int = 0
    doubled_in_fault: int = 0
    lateness_p50_s: float | None = None
    lateness_max_s: float | None = None
    due: list[str] = Field(default_factory=list, description="Due times of what is missing.")


class ComponentRow(Record):
    """One component under load; each field names its evidence in `evidence`."""

    name: str
    wing: str
    tier: int
    state: State
    reason: str
    loop_active: bool | None
    error_free: bool | None
    interval_s: float | None
    last_activity_s: float | None
    cycles: int
    failed_cycles: int
    failed_in_fault: int
    work: int
    empty_cycles: int = Field(0, description="Passed cycles that say nothing of what they saw.")
    left: int | None = Field(
        None, description="Rows that its cycles left in tables of its own; None: it has none."
    )
    crashes: int
    probe_can_fail: bool | None = Field(
        None, description="Whether the probe failed in the control world, where it must."
    )
    stable_under_load: bool | None = None
    notes: str = ""
    evidence: dict[str, JsonValue] = Field(default_factory=dict)


class HookRow(Record):
    """One of the nine hooks of the trade flow, as the canary saw it."""

    hook: str
    fired: int | None
    order: int | None = None
    evidence: str = ""


class Quantiles(Record):
    """A distribution in milliseconds; `target_ms` is the p99 it is held against."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    target_ms: float | None = None


class Point(Record):
    """One point of a plotted series; `t` is seconds since the start of the window."""

    t: float
    value: float


class ThroughputFacts(Record):
    """The load: what producers were told against the effects found in the ledger."""

    told_ok: int
    told_failed: int
    told_unknown: int
    effects: int
    lost: int
    doubled: int
    lost_keys: list[str] = Field(default_factory=list)
    doubled_keys: list[str] = Field(default_factory=list)
    drained_s: float | None
    effects_per_s: float
    checks_per_s: float
    latency: dict[str, Quantiles] = Field(default_factory=dict)
    series: dict[str, list[Point]] = Field(default_factory=dict)


class ExceptionDigest(Record):
    """All failures of one signature in the window."""

    signature: str
    type: str
    component: str
    count: int
    first_at: datetime
    last_at: datetime
    escalating: bool
    explained_by: str = Field("", description="The drill or scenario that caused it; else empty.")


class LogFacts(Record):
    """The log's rate, and the error lines that no incident accounts for."""

    lines: int
    lines_per_minute: float
    errors: int
    unaccounted: list[str] = Field(default_factory=list)


class MemoryRow(Record):
    """One process over time; the slope is Theil-Sen over the samples after the warm-up."""

    process: str
    role: str
    samples: int
    seconds: float
    first_mb: float
    last_mb: float
    peak_mb: float
    slope_mb_per_min: float | None
    leaking: bool | None
    series: list[Point] = Field(default_factory=list)


class IncidentRow(Record):
    """One incident that was open in the window."""

    id: str
    label: str
    component: str
    source: str
    severity: str
    state: str
    occurrences: int
    opened_at: datetime
    route: str = ""
    fix: str = ""
    proof: str = ""
    explained_by: str = ""
    to_row_ms: float | None = None
    to_analysis_ms: float | None = None
    to_fix_s: float | None = None


class IncidentFacts(Record):
    """Incidents and repairs of the window."""

    rows: list[IncidentRow]
    opened: int
    resolved: int
    escalated: int
    unexplained_open: int
    drills_raised: int | None
    drills_recognised: int | None
    failure_to_row: Quantiles | None
    failure_to_analysis: Quantiles | None
    first_fix_s: float | None
    repeat_fix_s: float | None
    knowledge_before: int | None
    knowledge_after: int | None


class PositionRow(Record):
    """One position that was held in the window; `exit_rule` is empty while it is open."""

    symbol: str
    side: int
    quantity: float
    entry: float
    mark: float
    label: str
    realised: float
    exit_rule: str


class BookFacts(Record):
    """The book over the window; the series' time is in seconds of load."""

    book: str
    equity: list[Point]
    open_positions: list[Point]
    orders: dict[str, int] = Field(description="Orders by kind and state.")
    positions: list[PositionRow]


class FreshnessRow(Record):
    """One feed: whether what is stamped as new really is new."""

    feed: str
    snapshots: int
    distinct: int
    newest_age_s: float | None
    stale: bool | None
    evidence: str = ""


class Facts(Record):
    """Everything that was observed."""

    schema_version: int = SCHEMA_VERSION
    id: str
    started_at: datetime
    ended_at: datetime
    load_started_at: datetime
    load_ended_at: datetime
    minutes: float
    revision: str
    host: dict[str, JsonValue]
    input: InputFacts
    boot: BootFacts | None
    components: list[ComponentRow]
    cadence: list[CadenceRow]
    throughput: ThroughputFacts | None
    exceptions: list[ExceptionDigest] | None
    logs: LogFacts | None
    memory: list[MemoryRow]
    hooks: list[HookRow]
    decisions: dict[str, dict[str, int]]
    book: BookFacts | None = None
    freshness: list[FreshnessRow]
    chaos: list[ScenarioResult]
    faults: list[FaultWindow]
    incidents: IncidentFacts | None
    unscheduled: list[str] = Field(
        default_factory=list, description="Components that no beat entry checks."
    )
    addresses: dict[str, str] = Field(default_factory=dict)
    seconds_by_phase: dict[str, float] = Field(default_factory=dict)
