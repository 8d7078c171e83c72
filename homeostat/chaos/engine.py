"""Runs scenarios: steady state, fault, watching, rollback, the ledger, the outcome.

The engine believes nobody: the fault must be seen to have happened, the incident must be a row,
the remedy must have left a trace, and the effects are counted in their own ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from homeostat.chaos import load as loading
from homeostat.chaos import watchdog
from homeostat.chaos.faults import FAULTS, Fault, FaultNotPossibleError, Plan
from homeostat.chaos.ground import Ground, await_true, beats
from homeostat.chaos.load import Line, Load
from homeostat.chaos.scenario import FaultWindow, Outcome, Proof, Scenario, ScenarioResult
from homeostat.chaos.steady_state import SteadyState
from homeostat.chaos.watch import NO_TRACE, Watch
from homeostat.clock import utcnow
from homeostat.store import effects
from homeostat.store.database import reading

#: How long steady state may take to be there before the fault, in seconds.
STEADY_BEFORE_S = 45.0
#: Without recovery a probe job may be lost; before the fault it is asked for again, in seconds.
PROBE_AGAIN_S = 10.0
#: After the bound, the recovery is watched this much longer, so that a late one has a figure.
OVERTIME = 1.0
#: The drain may take this long after steady state, in seconds: the sweeper's second back-off.
DRAIN_S = 45.0
#: What was due this shortly before the fault may have waited for a worker when it struck (p95 of
#: that wait on a busy machine: 3.8 s), and what is due this shortly after steady state may still
#: queue behind the backlog.
BEFORE, AFTER = timedelta(seconds=5), timedelta(seconds=1)
#: A watchdog outlives the bound by this much, in seconds.
GRACE_S = 60.0

Progress = Callable[[str], None]


@dataclass
class _Ready:
    """A scenario whose fault is planned and has not struck yet."""

    scenario: Scenario
    fault: Fault
    plan: Plan
    result: ScenarioResult
    began: datetime


def run(
    scenarios: Sequence[Scenario],
    ground: Ground,
    load: Load,
    *,
    wave: int = 1,
    progress: Progress = lambda _line: None,
) -> list[ScenarioResult]:
    """Run scenarios at the same moment on a running stack under load; return what became of each.

    Steady state comes back when the slowest has healed, so the longest bound holds for them all.
    """
    bound_s = max(scenario.bound_s for scenario in scenarios)
    results = [_unrun(scenario, wave, bound_s) for scenario in scenarios]
    began = utcnow()
    before = await_steady(ground, load, began)
    planned = [
        _planned(scenario, result, before, ground, load, began)
        for scenario, result in zip(scenarios, results, strict=True)
    ]
    ready = [one for one in planned if one is not None]
    if ready:
        progress("; ".join(f"{one.scenario.id}: {one.scenario.title}" for one in ready))
        with ThreadPoolExecutor(len(ready)) as pool:
            list(pool.map(lambda one: _carry_out(one, ground, load), ready))
    for result in results:
        progress(f"{result.id}: {result.outcome}" + "".join(f"; {why}" for why in result.reasons))
    return results


def _unrun(scenario: Scenario, wave: int, bound_s: float) -> ScenarioResult:
    return ScenarioResult(
        id=scenario.id,
        title=scenario.title,
        group=scenario.group,
        wave=wave,
        severity=scenario.severity,
        outcome=Outcome.SKIPPED,
        bound_s=bound_s,
    )


def _planned(
    scenario: Scenario,
    result: ScenarioResult,
    before: Proof,
    ground: Ground,
    load: Load,
    began: datetime,
) -> _Ready | None:
    """Plan the fault; None, with the reason in the result, where it may not or cannot strike."""
    result.steady_before = before
    if not before.held:
        result.reasons.append(f"steady state did not hold before: {before.observed['problems']}")
        return None
    fault = FAULTS[scenario.fault](ground, load, scenario.target, scenario.arguments)
    try:
        return _Ready(scenario, fault, fault.plan(), result, began)
    except FaultNotPossibleError as error:
        result.reasons.append(str(error))
        return None


def _carry_out(ready: _Ready, ground: Ground, load: Load) -> None:
    deadline_s = 2 * ready.result.bound_s + GRACE_S
    with watchdog.armed(ready.plan.undo, ground, deadline_s=deadline_s) as problems:
        watch = _strike_and_watch(ready, ground, load)
    ready.result.rolled_back = ready.fault.proof(
        "the way back was gone", held=not problems, problems=[*problems]
    )
    _settle(watch, load, ready.result, ready.began)


def await_steady(ground: Ground, load: Load, since: datetime) -> Proof:
    """Wait until steady state holds, and return the last look at it."""
    state = SteadyState(ground, load, since)
    last = state.look()
    # A control shares the machine with the stack under test, and only has to be steady at last.
    patience = STEADY_BEFORE_S * (1 if ground.settings.recovery else 3)
    for passed in beats(patience):
        if last.held:
            break
        if passed > PROBE_AGAIN_S * (1 + state.again):
            state.ask_again()
        last = state.look()
    return last


def _strike_and_watch(ready: _Ready, ground: Ground, load: Load) -> Watch:
    scenario, fault, plan, result = ready.scenario, ready.fault, ready.plan, ready.result
    at = utcnow()
    try:
        fault.strike(plan)
        result.happened = fault.happened(plan)
    except FaultNotPossibleError as error:
        result.happened = fault.proof("the fault was injected", held=False, error=str(error))
    watch = Watch(scenario, fault, plan, at, SteadyState(ground, load, utcnow()))
    watch.note("fault", at, **result.happened.observed)
    if result.happened.held:
        # A control has failed once its bound is over; how late it would be is of no use.
        overtime = OVERTIME if ground.settings.recovery else 0.0
        for _ in beats(result.bound_s * (1 + overtime)):
            if watch.look():
                break
    return watch


def _settle(watch: Watch, load: Load, result: ScenarioResult, began: datetime) -> None:
    """Let the ledger drain, compare it, and draw the conclusion."""
    result.noticed = watch.noticed or _unseen(f"an incident of {watch.scenario.noticed_by}")
    result.healed = watch.healed or _unseen(f"the remedy {watch.scenario.remedy}")
    if watch.complete and watch.scenario.remedy in NO_TRACE:
        result.healed = None
    if not watch.scenario.noticed_by:
        result.noticed = None
    result.steady_after = watch.steady_proof
    steady_at = watch.steady_proof.at if watch.steady_proof and watch.steady_proof.held else None
    end = steady_at or utcnow()
    lines = [line for line in load.lines(began) if line.at <= end]
    patience = DRAIN_S if watch.fault.ground.settings.recovery else 0.0
    drained = await_true(lambda: _drained(lines), patience)
    ledger = loading.compare(lines)
    result.lost, result.doubled = len(ledger.lost), len(ledger.doubled)
    watch.note("ledger compared", lost=result.lost, doubled=result.doubled)

    def since_fault(moment: datetime | None) -> float | None:
        return None if moment is None else round((moment - watch.at).total_seconds(), 3)

    result.detect_s = since_fault(watch.noticed.at if watch.noticed else None)
    result.restart_s = next((s.seconds for s in watch.timeline if s.what == "remedied"), None)
    result.first_effect_s = since_fault(watch.first_effect_at)
    # Steady state before the remedy has acted is luck: healed is what comes last.
    healed = [since_fault(steady_at), result.restart_s]
    result.heal_s = None if steady_at is None else max(s for s in healed if s is not None)
    result.drained_s = since_fault(_last_effect(lines)) if drained else None
    # What waited in the fault is late because of it, until the last of it is done.
    end = max(end, _last_effect(lines) or end)
    result.window = FaultWindow(scenario=result.id, start=watch.at - BEFORE, end=end + AFTER)
    result.timeline = watch.timeline
    result.outcome, result.reasons = _outcome(watch.scenario, result)


def _outcome(scenario: Scenario, result: ScenarioResult) -> tuple[Outcome, list[str]]:
    if result.happened is None or not result.happened.held:
        return Outcome.INVALID, ["the fault was not proven to have happened"]
    reasons = []
    if scenario.noticed_by and not (result.noticed and result.noticed.held):
        reasons.append(f"nobody noticed ({scenario.noticed_by} opened no incident)")
    if scenario.remedy not in NO_TRACE and not (result.healed and result.healed.held):
        reasons.append(f"the remedy {scenario.remedy} did not act")
    if result.heal_s is None:
        problems = result.steady_after.observed["problems"] if result.steady_after else "not looked"
        reasons.append(f"steady state did not return: {problems}")
    elif result.heal_s > result.bound_s:
        took = f"{result.heal_s:.1f} s"
        reasons.append(f"steady state took {took} and the bound is {result.bound_s:g} s")
    if result.lost:
        reasons.append(f"{result.lost} effects were lost")
    if result.doubled:
        reasons.append(f"{result.doubled} effects were doubled")
    return (Outcome.FAIL if reasons else Outcome.PASS), reasons


def _unseen(what: str) -> Proof:
    return Proof(claim=what, held=False, at=utcnow())


def _drained(lines: list[Line]) -> bool:
    return not loading.compare(lines).lost


def _last_effect(lines: list[Line]) -> datetime | None:
    with reading() as session:
        return effects.last_of(session, [line.key for line in lines])
