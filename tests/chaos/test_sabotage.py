"""The verdict is tested too: each silent breakage costs STABLE and is named.

Every case leaves the rows, files or processes that the breakage would leave in a real run, and
lets the run's own evidence and rules look at them.
"""

from __future__ import annotations

import os
import signal
import sys
import types
from datetime import datetime, timedelta
from pathlib import Path
from types import FunctionType

import pytest
from sqlalchemy.orm import Session

from homeostat import dispatch
from homeostat.chaos import campaign, engine
from homeostat.chaos.faults.processes import KillProcesses
from homeostat.chaos.ground import Ground, Starter
from homeostat.chaos.load import Load, Told, compare
from homeostat.chaos.scenario import ControlResult, Outcome, ScenarioResult
from homeostat.clock import utcnow
from homeostat.component import Component, ComponentSpec, Context, CycleResult, Evidence, Wing
from homeostat.incidents.failure import Failure
from homeostat.incidents.recognition import report
from homeostat.settings import settings
from homeostat.store import timing
from homeostat.store.checks import CheckRun
from homeostat.store.database import make_engine, reading, transaction
from homeostat.store.effects import Effect, EffectStart
from homeostat.store.timing import RepeatKind
from homeostat.store.trading import Decision, DecisionCycle, HookFiring
from homeostat.stress import control_world
from homeostat.stress.evidence import cadence, flow, incidents, throughput
from homeostat.stress.evidence.components import rows as component_rows
from homeostat.stress.evidence.memory import Track
from homeostat.stress.evidence.memory import row as memory_row
from homeostat.stress.evidence.window import Window
from homeostat.stress.facts import Facts, Point
from homeostat.stress.findings import Verdict
from homeostat.stress.verdict import judge
from homeostat.supervision import cadence as grid
from homeostat.supervision.check import Tick, run_check
from homeostat.supervision.drill import DrillProcess
from homeostat.supervision.timetable import Entry, check
from tests.stress_facts import START, green

WINDOW = Window(START, START + timedelta(minutes=1))
ENTRY = check("trading.universe_os", every_s=5)


def culprits(facts: Facts) -> set[str]:
    """Return who is named, having seen that the verdict is not STABLE."""
    judgement = judge(facts)
    assert judgement.verdict is not Verdict.STABLE
    named = {finding.culprit for finding in judgement.findings}
    return named | {row.row for row in judgement.not_tested if row.required}


def ticks(entry: Entry) -> list[datetime]:
    return list(grid.due_between(entry.name, entry.interval_s, WINDOW.start, WINDOW.end))


def ran(entry: Entry, due: datetime, **fields: object) -> CheckRun:
    values = {
        "component": entry.name,
        "started_at": due + timedelta(milliseconds=30),
        "ended_at": due + timedelta(milliseconds=50),
        "passed": True,
        "work": 3,
        "evidence": {"probe": {"claim": "x"}, "cycle": {"symbols": 222}},
    }
    return CheckRun(entry=entry.name, due_at=due, **(values | fields))


def ledger_of(*runs: CheckRun) -> Facts:
    """Return green facts with the cadence ledger that these runs make."""
    with transaction() as session:
        session.add_all(runs)
    facts = green()
    with reading() as session:
        facts.cadence = cadence.rows(session, [ENTRY], WINDOW)
    return facts


pytestmark = pytest.mark.usefixtures("sqlite_store")


def test_an_honest_ledger_is_stable() -> None:
    facts = ledger_of(*(ran(ENTRY, due) for due in ticks(ENTRY)))
    assert judge(facts).verdict is Verdict.STABLE
    assert facts.cadence[0].expected == facts.cadence[0].run == 12


def test_an_entry_that_never_fires_is_named() -> None:
    assert ENTRY.name in culprits(ledger_of())


def test_an_entry_that_fires_twice_is_named() -> None:
    first, *rest = ticks(ENTRY)
    with transaction() as session:
        timing.note_repeat(session, ENTRY.name, first, RepeatKind.PUBLISHED_TWICE)
    facts = ledger_of(ran(ENTRY, first, deliveries=2), *(ran(ENTRY, due) for due in rest))
    assert facts.cadence[0].doubled == 1
    assert ENTRY.name in culprits(facts)


def test_a_message_that_the_broker_delivered_again_is_no_second_firing() -> None:
    first, *rest = ticks(ENTRY)
    with transaction() as session:
        timing.note_repeat(session, ENTRY.name, first, RepeatKind.REDELIVERED)
    facts = ledger_of(ran(ENTRY, first, deliveries=2), *(ran(ENTRY, due) for due in rest))
    assert judge(facts).verdict is Verdict.STABLE


def test_an_entry_that_fires_when_it_is_not_due_is_named() -> None:
    due = ticks(ENTRY)
    extra = [ran(ENTRY, moment + timedelta(seconds=2)) for moment in due[:5]]
    facts = ledger_of(*(ran(ENTRY, moment) for moment in due), *extra)
    assert facts.cadence[0].off_grid == 5
    assert ENTRY.name in culprits(facts)


class _Idle(Component):
    """A component whose cycle does nothing."""

    spec = ComponentSpec(name="universe_os", wing=Wing.TRADING, tier=1, summary="Nothing.")

    def probe(self, session: Session) -> Evidence:
        del session
        return Evidence(claim="it is there", passed=True, observed={"there": True})

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        del session, due_at
        return CycleResult(work=5, observed={"symbols": 222})


def test_a_component_whose_cycle_does_nothing_is_named() -> None:
    context = Context(settings=settings(), find=control_world._nobody)
    with transaction() as session:
        run_check(session, _Idle(context), Tick(ENTRY.name, utcnow(), 5))
    now = utcnow()
    window = Window(now - timedelta(minutes=1), now + timedelta(seconds=1))
    facts = green()
    with reading() as session:
        rows = component_rows(session, [ENTRY], [], {ENTRY.name: True}, window, now)
    facts.components = [row for row in rows if row.name == ENTRY.name]
    # It claims five units of work on 222 symbols, and left no universe behind.
    assert (facts.components[0].work, facts.components[0].left) == (5, 0)
    assert ENTRY.name in culprits(facts)


def test_a_component_that_nobody_schedules_is_named() -> None:
    facts = green()
    facts.unscheduled = ["kernels.sandbox"]
    assert "kernels.sandbox" in culprits(facts)


def test_an_unplugged_hook_is_named() -> None:
    names = [f"hook {number}" for number in range(9)]
    with transaction() as session:
        for name in names:
            session.add(HookFiring(run_id="canary", hook=name, fired=name != "hook 6"))
    facts = green()
    with reading() as session:
        facts.hooks = flow.hooks(session, names, ["canary"])
    assert "hook 6" in culprits(facts)


class _DrillGround(Ground):
    """The ground of one real process that can be killed."""

    drill: DrillProcess

    @property
    def control(self) -> Starter:
        return self.drill  # type: ignore[return-value]  # a drill is restarted, never started


def struck(*, deaf: bool) -> ScenarioResult:
    """Kill a real process, let a remedy say that it restarted it, and judge what is seen."""
    with DrillProcess() as drill:
        drill.deaf = deaf
        ground = _DrillGround(settings())
        object.__setattr__(ground, "drill", drill)
        fault = KillProcesses(ground, Load(settings().state_dir / "h"), "drill", {})
        plan = fault.plan()
        fault.strike(plan)
        result = next(one for one in green().chaos if one.id == "P2")
        result.happened = fault.happened(plan)
        assert result.happened.held
        # The remedy returns as if it had acted.
        drill.restart("drill")
        result.healed = fault.remedied(plan)
    from homeostat.chaos.catalogue import find

    result.outcome, result.reasons = engine._outcome(find("P2"), result)
    return result


def test_a_recovery_that_acts_passes() -> None:
    assert struck(deaf=False).outcome is Outcome.PASS


def test_a_recovery_that_returns_success_without_acting_is_named() -> None:
    facts = green()
    facts.chaos[1] = struck(deaf=True)
    assert facts.chaos[1].reasons == ["the remedy process_restart did not act"]
    assert "P2" in culprits(facts)


def test_a_scenario_whose_control_does_not_fail_proves_nothing() -> None:
    facts = green()
    result = facts.chaos[0]
    control = ControlResult(
        outcome=Outcome.PASS,
        failed_as_it_must=False,
        reasons=[],
        revision="abc",
        ran_at=START,
        cached=False,
    )
    campaign._with_control(result, control)
    assert result.outcome is Outcome.INVALID
    assert "chaos: P1" in culprits(facts)


HONEST = """
from homeostat.component import Component, Evidence
def look():
    return 2
class Probed(Component):
    def probe(self, session):
        return Evidence(claim="adds up", passed=look() == 2, observed={"seen": 2})
    def run(self, session, due_at):
        raise NotImplementedError
"""
BLIND = HONEST.replace("look() == 2", "True")


def probed(source: str) -> bool:
    """Return whether a component's probe passes in the control world."""
    module = types.ModuleType("sabotaged_component")
    sys.modules[module.__name__] = module
    try:
        exec(source, vars(module))  # noqa: S102  # the text stands above
        kind = module.Probed
        assert isinstance(kind.probe, FunctionType)
        control_world._break(kind)
        context = Context(settings=settings(), find=control_world._nobody)
        with Session(make_engine("sqlite://")) as session:
            return bool(control_world._probe(kind, context, session)["passed"])
    finally:
        del sys.modules[module.__name__]


def test_a_probe_that_always_passes_is_found_and_named() -> None:
    assert not probed(HONEST)
    assert probed(BLIND)
    facts = green()
    facts.components[1].probe_can_fail = not probed(BLIND)
    assert facts.components[1].name in culprits(facts)


def drilled(*, swallow: bool) -> Facts:
    """Raise two known failures, of which one may never reach the incidents."""
    names = ["drill:TOKENN000", "drill:TOKENN001"]
    for name in names:
        with transaction() as session:
            session.add(EffectStart(key=name, pid=os.getpid()))
        if swallow and name == names[1]:
            continue
        failure = Failure.without_frames(
            incidents.drill_type(name), "On purpose.", "task", "stress.fail", incidents.DRILL_TASK
        )
        with transaction() as session:
            report(session, failure)
    now = utcnow()
    window = Window(now - timedelta(minutes=1), now + timedelta(seconds=1))
    facts = green()
    with reading() as session:
        explained = incidents.explanations(session, window, {})
        facts.incidents = incidents.gather(session, window, names, explained)
        facts.incidents.failure_to_analysis = green().incidents.failure_to_analysis  # type: ignore[union-attr]  # the green facts have incidents
    return facts


def test_a_known_failure_that_is_recognised_is_no_finding() -> None:
    assert judge(drilled(swallow=False)).verdict is Verdict.STABLE


def test_a_swallowed_exception_is_named() -> None:
    assert "error recognition" in culprits(drilled(swallow=True))


class _Silent:
    def send(self, *_args: object, **_kwargs: object) -> None:
        """Take the message and do nothing: the sweeper would send it."""


def loaded(effects_of: dict[int, int], tmp_path: Path) -> Facts:
    """Submit three jobs and leave that many effects of each."""
    dispatch.install(_Silent())
    load = Load(tmp_path / "history.jsonl")
    keys = []
    for _ in range(3):
        key, told = load.submit()
        assert told is Told.OK
        keys.append(key)
    with transaction() as session:
        for number, count in effects_of.items():
            session.add_all([Effect(key=keys[number]) for _ in range(count)])
    now = utcnow()
    window = Window(now - timedelta(minutes=1), now + timedelta(seconds=1))
    facts = green()
    with reading() as session:
        lines = load.lines()
        facts.throughput = throughput.gather(session, window, lines, compare(lines), 0.1, [])
    return facts


def test_a_whole_ledger_is_no_finding(tmp_path: Path) -> None:
    facts = loaded({0: 1, 1: 1, 2: 1}, tmp_path)
    assert judge(facts).verdict is Verdict.STABLE


def test_a_ledger_that_loses_rows_is_named(tmp_path: Path) -> None:
    facts = loaded({0: 1, 1: 0, 2: 1}, tmp_path)
    assert facts.throughput is not None
    assert facts.throughput.lost == 1
    assert "effects ledger" in culprits(facts)


def test_a_ledger_that_doubles_rows_is_named(tmp_path: Path) -> None:
    facts = loaded({0: 1, 1: 2, 2: 1}, tmp_path)
    assert "effects ledger" in culprits(facts)


def samples(megabytes: list[float]) -> Track:
    points = [Point(t=second, value=value) for second, value in enumerate(megabytes)]
    return Track("worker", 7, points)


def test_a_memory_leak_is_named_and_a_warm_up_is_not() -> None:
    leak = memory_row(samples([100 + 0.5 * second for second in range(60)]))
    warm_up = memory_row(samples([60 + 8 * min(second, 9) for second in range(60)]))
    saw = memory_row(samples([100 + 6 * (second % 12) / 12 for second in range(60)]))
    loaded_once = memory_row(samples([120 if second < 35 else 340 for second in range(60)]))
    assert leak.leaking
    assert not any((warm_up.leaking, saw.leaking, loaded_once.leaking))
    facts = green()
    facts.memory = [leak]
    assert "worker (7)" in culprits(facts)


def fed(prices: list[float]) -> Facts:
    """Journal one cycle a minute in which every symbol has that price."""
    with transaction() as session:
        for minute, price in enumerate(prices):
            due = START + timedelta(minutes=minute)
            cycle = DecisionCycle(due_at=due, book="paper", inputs={}, counts={})
            session.add(cycle)
            session.flush()
            session.add_all([_decision(cycle.id, symbol, price) for symbol in ("AAA", "BBB")])
    facts = green()
    with reading() as session:
        now = START + timedelta(minutes=len(prices))
        facts.freshness = flow.freshness(session, START, now)[:1]
    return facts


def _decision(cycle_id: str, symbol: str, price: float) -> Decision:
    return Decision(
        cycle_id=cycle_id,
        symbol=symbol,
        rule="confidence_floor",
        approved=False,
        side=0,
        confidence=0.5,
        price=price,
        volatility=0.01,
        take_profit=0,
        stop_loss=0,
        trail=0,
        partial=0,
        size=0,
    )


def test_fresh_prices_are_no_finding() -> None:
    assert judge(fed([1.0, 1.1, 1.2])).verdict is Verdict.STABLE


def test_stale_data_stamped_with_now_is_named() -> None:
    assert "market prices" in culprits(fed([1.0, 1.1, 1.1]))


def test_a_fault_never_reaches_a_process_outside_the_stack() -> None:
    from homeostat.chaos.ground import NotOursError

    with pytest.raises(NotOursError):
        Ground(settings()).send_signal(os.getpid(), signal.SIGKILL)
