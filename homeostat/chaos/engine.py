"""Runs one scenario: steady state, fault, watching, rollback, the ledger, the outcome.

The engine believes nobody: the fault must be seen to have happened, the incident must be a row,
the remedy must have left a trace, and the effects are counted in their own ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import JsonValue
from sqlalchemy import select

from homeostat.chaos import load as loading
from homeostat.chaos import watchdog
from homeostat.chaos.faults import FAULTS, Fault, FaultNotPossibleError, Plan
from homeostat.chaos.ground import Ground, await_true, beats, born
from homeostat.chaos.load import Line, Load
from homeostat.chaos.scenario import (
    FaultWindow,
    Outcome,
    Proof,
    Remedy,
    Scenario,
    ScenarioResult,
    Step,
)
from homeostat.chaos.steady_state import SteadyState
from homeostat.clock import utcnow
from homeostat.errors import StoreUnavailableError
from homeostat.store import effects
from homeostat.store.database import reading
from homeostat.store.incidents import Incident

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
class Watch:
    """What was seen since the fault; each moment is set once."""

    scenario: Scenario
    fault: Fault
    plan: Plan
    at: datetime
    steady: SteadyState
    noticed: Proof | None = None
    healed: Proof | None = None
    steady_proof: Proof | None = None
    first_effect_at: datetime | None = None
    timeline: list[Step] = field(default_factory=list)

    def note(self, what: str, at: datetime | None = None, **detail: JsonValue) -> None:
        """Add a line to the timeline."""
        at = at or utcnow()
        seconds = (at - self.at).total_seconds()
        self.timeline.append(Step(at=at, seconds=seconds, what=what, detail=detail))

    def look(self) -> bool:
        """Look once at everything that is still missing; whether nothing is."""
        if self.noticed is None and (proof := _noticed(self.scenario, self.at)):
            self.noticed = proof
            self.note("noticed", proof.at, **proof.observed)
        if self.healed is None:
            proof = self.fault.remedied(self.plan)
            if proof is not None and proof.held:
                self.healed = proof
                self.note("remedied", self.healed_at(), **proof.observed)
        if self.first_effect_at is None:
            self.first_effect_at = _first_effect(self.at)
        if self.steady_proof is None or not self.steady_proof.held:
            proof = self.steady.look()
            if proof.held:
                self.note("steady state", proof.at)
            self.steady_proof = proof
        return self.complete

    @property
    def complete(self) -> bool:
        """Whether everything that this scenario asks for was seen."""
        noticed = not self.scenario.noticed_by or self.noticed is not None
        healed = self.healed is not None or self.scenario.remedy in _NO_TRACE
        steady = self.steady_proof is not None and self.steady_proof.held
        return noticed and healed and steady

    def healed_at(self) -> datetime:
        """When the remedy was done: a new process's birth, by the kernel's record, else now."""
        now = utcnow()
        if self.healed is None or self.scenario.remedy is not Remedy.PROCESS_RESTART:
            return now
        pids = [pid for pid in self.healed.observed.values() if isinstance(pid, int)]
        moments = [moment for pid in pids if (moment := born(pid)) and moment > self.at]
        return max(moments, default=now)


#: Remedies whose only trace is the ledger itself: nothing is lost and nothing is doubled.
_NO_TRACE = frozenset({Remedy.DEDUPLICATION, Remedy.REPORT})


def run(
    scenario: Scenario,
    ground: Ground,
    load: Load,
    *,
    wave: int = 1,
    progress: Progress = lambda _line: None,
) -> ScenarioResult:
    """Run one scenario on a running stack under load, and return what became of it."""
    result = ScenarioResult(
        id=scenario.id,
        title=scenario.title,
        group=scenario.group,
        wave=wave,
        severity=scenario.severity,
        outcome=Outcome.SKIPPED,
        bound_s=scenario.bound_s,
    )
    fault = FAULTS[scenario.fault](ground, load, scenario.target, scenario.arguments)
    began = utcnow()
    before = await_steady(ground, load, began)
    result.steady_before = before
    if not before.held:
        result.reasons.append(f"steady state did not hold before: {before.observed['problems']}")
        return result
    try:
        plan = fault.plan()
    except FaultNotPossibleError as error:
        result.reasons.append(str(error))
        return result
    progress(f"{scenario.id}: {scenario.title}")
    with watchdog.armed(plan.undo, ground, deadline_s=2 * scenario.bound_s + GRACE_S):
        watch = _strike_and_watch(scenario, fault, plan, ground, load, result)
    _settle(watch, load, result, began)
    progress(f"{scenario.id}: {result.outcome}" + "".join(f"; {why}" for why in result.reasons))
    return result


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


def _strike_and_watch(
    scenario: Scenario,
    fault: Fault,
    plan: Plan,
    ground: Ground,
    load: Load,
    result: ScenarioResult,
) -> Watch:
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
        for _ in beats(scenario.bound_s * (1 + overtime)):
            if watch.look():
                break
    return watch


def _settle(watch: Watch, load: Load, result: ScenarioResult, began: datetime) -> None:
    """Let the ledger drain, compare it, and draw the conclusion."""
    result.noticed = watch.noticed or _unseen(f"an incident of {watch.scenario.noticed_by}")
    result.healed = watch.healed or _unseen(f"the remedy {watch.scenario.remedy}")
    if watch.complete and watch.scenario.remedy in _NO_TRACE:
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
    if scenario.remedy not in _NO_TRACE and not (result.healed and result.healed.held):
        reasons.append(f"the remedy {scenario.remedy} did not act")
    if result.heal_s is None:
        problems = result.steady_after.observed["problems"] if result.steady_after else "not looked"
        reasons.append(f"steady state did not return: {problems}")
    elif result.heal_s > scenario.bound_s:
        took = f"{result.heal_s:.1f} s"
        reasons.append(f"steady state took {took} and the bound is {scenario.bound_s:g} s")
    if result.lost:
        reasons.append(f"{result.lost} effects were lost")
    if result.doubled:
        reasons.append(f"{result.doubled} effects were doubled")
    return (Outcome.FAIL if reasons else Outcome.PASS), reasons


def _unseen(what: str) -> Proof:
    return Proof(claim=what, held=False, at=utcnow())


def _noticed(scenario: Scenario, since: datetime) -> Proof | None:
    """Return the incident of the named source and component that was seen since the fault."""
    if not scenario.noticed_by:
        return None
    source, _, component = scenario.noticed_by.partition(":")
    statement = (
        select(Incident)
        .where(
            Incident.source == source,
            Incident.component == component,
            Incident.last_seen_at >= since,
        )
        .order_by(Incident.last_seen_at)
    )
    try:
        with reading() as session:
            incident = session.scalars(statement).first()
    except StoreUnavailableError:
        return None
    if incident is None:
        return None
    observed: dict[str, JsonValue] = {
        "incident": incident.id,
        "label": incident.label,
        "message": incident.message,
    }
    return Proof(claim="an incident stands", held=True, observed=observed, at=incident.last_seen_at)


def _first_effect(since: datetime) -> datetime | None:
    try:
        with reading() as session:
            return effects.first_after(session, since)
    except StoreUnavailableError:
        return None


def _drained(lines: list[Line]) -> bool:
    return not loading.compare(lines).lost


def _last_effect(lines: list[Line]) -> datetime | None:
    with reading() as session:
        return effects.last_of(session, [line.key for line in lines])
