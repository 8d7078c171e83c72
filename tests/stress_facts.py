"""Facts of a run in which everything was tested and everything held, to break one at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from homeostat.chaos.scenario import (
    ControlResult,
    FaultWindow,
    Outcome,
    Proof,
    ScenarioResult,
    Severity,
)
from homeostat.component import State
from homeostat.stress.boot_facts import BootFacts, BootRow, TierRow
from homeostat.stress.facts import (
    CadenceRow,
    ComponentRow,
    Facts,
    FreshnessRow,
    HookRow,
    IncidentFacts,
    InputFacts,
    LogFacts,
    MemoryRow,
    Point,
    Quantiles,
    ThroughputFacts,
)

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def quantiles(p99: float = 200.0, target: float | None = 2000.0) -> Quantiles:
    return Quantiles(count=50, p50_ms=50, p95_ms=100, p99_ms=p99, max_ms=p99, target_ms=target)


def component(name: str) -> ComponentRow:
    return ComponentRow(
        name=name,
        wing=name.partition(".")[0],
        tier=0,
        state=State.RUNNING,
        reason="",
        loop_active=True,
        error_free=True,
        interval_s=5,
        last_activity_s=1.5,
        cycles=12,
        failed_cycles=0,
        failed_in_fault=0,
        work=24,
        crashes=0,
        probe_can_fail=True,
        stable_under_load=True,
        evidence={"check_runs": 12},
    )


def scenario(name: str) -> ScenarioResult:
    proof = Proof(claim="seen", held=True, at=START)
    return ScenarioResult(
        id=name,
        title="a fault",
        group="processes",
        wave=1,
        severity=Severity.MILD,
        outcome=Outcome.PASS,
        steady_before=proof,
        happened=proof,
        noticed=proof,
        healed=proof,
        steady_after=proof,
        lost=0,
        doubled=0,
        detect_s=1.0,
        restart_s=2.0,
        first_effect_s=2.5,
        drained_s=3.0,
        heal_s=3.5,
        bound_s=20,
        control=ControlResult(
            outcome=Outcome.FAIL,
            failed_as_it_must=True,
            reasons=["1 effect was lost"],
            revision="abc",
            ran_at=START,
            cached=False,
        ),
        window=FaultWindow(scenario=name, start=START, end=START + timedelta(seconds=4)),
    )


def cadence(entry: str) -> CadenceRow:
    return CadenceRow(
        entry=entry,
        task=f"checks.{entry}",
        interval_s=5,
        expected=12,
        run=12,
        late=0,
        missed=0,
        doubled=0,
        lateness_p50_s=0.01,
        lateness_max_s=0.2,
    )


def green() -> Facts:
    """Return facts for which the verdict is STABLE."""
    names = ["kernels.message_bus", "trading.ai_hfos"]
    return Facts(
        id="run",
        started_at=START,
        ended_at=START + timedelta(seconds=90),
        load_started_at=START + timedelta(seconds=10),
        load_ended_at=START + timedelta(seconds=70),
        minutes=1,
        revision="abc",
        host={"cpus": 2},
        input=InputFacts(kind="generator", seed=1, symbols=222, run_seed=7),
        boot=BootFacts(
            running=2,
            total=2,
            seconds=3,
            tiers=[TierRow(tier=0, running=2, total=2, seconds=3)],
            components=[
                BootRow(name=name, tier=0, state="RUNNING", seconds=1, tries=1) for name in names
            ],
        ),
        components=[component(name) for name in names],
        cadence=[cadence(name) for name in names],
        throughput=ThroughputFacts(
            told_ok=600,
            told_failed=0,
            told_unknown=0,
            effects=600,
            lost=0,
            doubled=0,
            drained_s=0.4,
            effects_per_s=10,
            checks_per_s=2,
            latency={"row → effect": quantiles()},
            series={"effects per second": [Point(t=0, value=10), Point(t=1, value=11)]},
        ),
        exceptions=[],
        logs=LogFacts(lines=100, lines_per_minute=100, errors=0),
        memory=[
            MemoryRow(
                process="main",
                role="main",
                samples=30,
                seconds=60,
                first_mb=90,
                last_mb=91,
                peak_mb=92,
                slope_mb_per_min=0.2,
                leaking=False,
                series=[Point(t=0, value=90), Point(t=60, value=91)],
            )
        ],
        hooks=[HookRow(hook=f"hook {n}", fired=1, order=n) for n in range(9)],
        decisions={"blocked": {"confidence_floor": 3}},
        freshness=[
            FreshnessRow(feed="market", snapshots=5, distinct=5, newest_age_s=3, stale=False)
        ],
        chaos=[scenario(name) for name in ("P1", "P2", "B1")],
        faults=[],
        incidents=IncidentFacts(
            rows=[],
            opened=20,
            resolved=20,
            escalated=0,
            unexplained_open=0,
            drills_raised=20,
            drills_recognised=20,
            failure_to_row=quantiles(),
            failure_to_analysis=quantiles(),
            first_fix_s=2.0,
            repeat_fix_s=None,
            knowledge_before=0,
            knowledge_after=0,
        ),
    )
