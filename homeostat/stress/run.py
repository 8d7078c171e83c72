"""Conducts a stress run: boot, warm-up, controls, load with chaos waves, evidence, report."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from homeostat import registry
from homeostat.chaos import campaign, forensics
from homeostat.chaos import load as loading
from homeostat.chaos.controls import revision
from homeostat.chaos.ground import Ground, await_true
from homeostat.chaos.load import Load
from homeostat.chaos.scenario import ControlResult, ScenarioResult
from homeostat.clock import new_id, utcnow
from homeostat.component import State
from homeostat.errors import HomeostatError
from homeostat.settings import Settings
from homeostat.store import checks
from homeostat.store.database import reading
from homeostat.stress import drill_care
from homeostat.stress.boot_facts import BootFacts
from homeostat.stress.control_world import probes_can_fail
from homeostat.stress.evidence import cadence, gathering
from homeostat.stress.evidence.gathering import Seen
from homeostat.stress.evidence.memory import MemorySampler
from homeostat.stress.evidence.window import Window
from homeostat.stress.facts import Facts, InputFacts, Point
from homeostat.stress.plan import Plan
from homeostat.stress.producers import Canaries, Drills, Every, ask_for_check, component_of
from homeostat.supervision.overview import overview
from homeostat.supervision.timetable import Entry

#: Every component must have passed one check before the load begins; this long is waited.
WARM_UP_S = 90.0
#: What was asked for has this long to have its effect after the producers have stopped.
DRAIN_S = 60.0
#: Ticks that were due in the window have this long to end after it.
SETTLE_S = 15.0
#: Components that a fault left behind have this long to pass a check again.
RECOVER_S = 45.0


class Surroundings(Protocol):
    """What the run needs from the floors above: the stack and what can be asked of it."""

    settings: Settings
    entries: Sequence[Entry]
    input: InputFacts
    hooks: Sequence[str]

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where the stack's services answer, by name."""

    def run_controls(self, scenario_ids: Sequence[str]) -> list[ScenarioResult]:
        """Run the scenarios with recovery off on a throwaway stack."""

    def boot(self) -> BootFacts | None:
        """Boot all components and return the boot report, None where it cannot be had."""

    def canary(self, run_id: str) -> None:
        """Run one canary trade through the whole flow under that id."""

    def queue_depth(self) -> int:
        """Return how many messages wait on all queues; raises HomeostatError."""


class Progress(Protocol):
    """Who is told how the run goes on."""

    def phase(self, name: str) -> None:
        """A new phase has begun."""

    def line(self, text: str) -> None:
        """Something happened."""

    def load(self, seconds: float, of: float) -> None:
        """The load has been running for so many seconds of so many."""


@dataclass
class Conductor:
    """One run and what it has gathered so far."""

    around: Surroundings
    plan: Plan
    progress: Progress
    id: str = field(default_factory=new_id)
    began: datetime = field(default_factory=utcnow)
    seconds_by_phase: dict[str, float] = field(default_factory=dict)
    depth: list[Point] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the run's own folder."""
        self.ground = Ground(self.around.settings)
        self.folder = self.around.settings.state_dir / "chaos" / self.id
        self.folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Tell of a phase and time it."""
        self.progress.phase(name)
        began = time.monotonic()
        yield
        self.seconds_by_phase[name] = round(time.monotonic() - began, 2)

    def run(self) -> Facts:
        """Run everything and return the facts."""
        code = revision()
        with self.phase("boot"):
            boot = self.around.boot()
        with self.phase("warm-up and controls"), ThreadPoolExecutor(2) as pool:
            controls = pool.submit(self._controls, code)
            probes = pool.submit(self._probes)
            self._warm_up()
            found, honest = self._results(controls), probes.result()
        with self.phase("load and chaos"), drill_care.silenced(self.plan.seconds):
            seen = self._load(found)
        with self.phase("evidence"):
            self._recheck()
            seen.boot, seen.probes_can_fail = boot, honest
            facts = gathering.gather(self, seen, code)
            drill_care.resolve_all()
            return facts

    def _controls(self, code: str) -> dict[str, ControlResult]:
        return campaign.obtain_controls(
            self.around.settings, code, self.plan.scenario_ids, self.around.run_controls
        )

    def _results(self, controls: Future[dict[str, ControlResult]]) -> dict[str, ControlResult]:
        """Return the controls; a run without them is INCONCLUSIVE, never a crash."""
        try:
            return controls.result()
        except HomeostatError as error:
            self.progress.line(str(error))
            return {}

    def _probes(self) -> dict[str, bool]:
        try:
            return probes_can_fail()
        except HomeostatError as error:
            self.progress.line(str(error))
            return {}

    def _warm_up(self) -> None:
        """Have every component checked once, so that the load measures cycles and no imports."""
        names = registry.names()
        for name in names:
            ask_for_check(name, self._interval(name))
        await_true(lambda: not self._unchecked(names), WARM_UP_S)
        for name in self._unchecked(names):
            self.progress.line(f"{name} has passed no check in {WARM_UP_S:.0f} s")

    def _interval(self, name: str) -> float:
        intervals = {component_of(entry): entry.interval_s for entry in self.around.entries}
        return intervals.get(name, 60.0)

    def _unchecked(self, names: Sequence[str]) -> list[str]:
        with reading() as session:
            leases = checks.leases(session)
        return [
            name
            for name in names
            if name not in leases or (leases[name].renewed_at or self.began) <= self.began
        ]

    def _load(self, controls: Mapping[str, ControlResult]) -> Seen:
        """Run the load and the waves, and stop when both are through."""
        history = self.folder / "history.jsonl"
        drills, canaries = Drills(), Canaries(self.around.canary)
        logs = forensics.log_sizes(self.around.settings.state_dir / forensics.LOGS)
        # A fault and a drill at the same moment would blur whose latency it is.
        held = threading.Event()
        with ExitStack() as stack:
            load = stack.enter_context(Load(history, rate_per_s=self.plan.rate_per_s))
            sampler = stack.enter_context(MemorySampler(self.ground, also=self._sample_depth))
            stack.enter_context(Every(self.plan.drill_every_s, drills.raise_one, held))
            stack.enter_context(Every(self.plan.canary_every_s, canaries.run_one, held))
            start = utcnow()
            self._slow_checks()
            ends = time.monotonic() + self.plan.seconds
            results = self._waves(load, controls, held, ends)
            self._rest_until(ends)
        faults = [result.window for result in results if result.window is not None]
        window = Window(start, utcnow(), faults)
        drained_s = self._drain(load, window)
        return Seen(
            window=window,
            lines=load.lines(),
            drained_s=drained_s,
            results=results,
            drills=drills.names,
            canaries=canaries.ids,
            memory=sampler.rows(),
            depth=self.depth,
            logs_before=logs,
        )

    def _slow_checks(self) -> None:
        """Ask for the checks of components that no tick of this window falls to."""
        for entry in self.around.entries:
            component = component_of(entry)
            if component and entry.interval_s >= self.plan.seconds:
                ask_for_check(component, entry.interval_s)

    def _waves(
        self,
        load: Load,
        controls: Mapping[str, ControlResult],
        held: threading.Event,
        ends: float,
    ) -> list[ScenarioResult]:
        results: list[ScenarioResult] = []
        required = set(self.plan.scenario_ids)
        for wave in self.plan.waves:
            self._rest_until(min(ends, time.monotonic() + self.plan.rest_s))
            # Each scenario runs once whatever the length; repeats only while there is time.
            longest = sum(max(one.bound_s for one in batch) for batch in wave.batches)
            if time.monotonic() + longest > ends and required <= {r.id for r in results}:
                break
            held.set()
            results += campaign.run_waves(
                [wave],
                self.ground,
                load,
                run_id=self.id,
                controls=controls,
                progress=self.progress.line,
            )
            held.clear()
        return results

    def _rest_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            gone = self.plan.seconds - left
            self.progress.load(max(0.0, gone), self.plan.seconds)
            time.sleep(min(left, 0.5))

    def _drain(self, load: Load, window: Window) -> float | None:
        """Wait until everything that was accepted has had its effect; None: it has not."""
        lines = load.lines()
        done = await_true(lambda: not loading.compare(lines).lost, DRAIN_S)
        await_true(lambda: self._settled(window), SETTLE_S)
        return round((utcnow() - window.end).total_seconds(), 2) if done else None

    def _settled(self, window: Window) -> bool:
        """Return whether nothing waits, and no tick is at work: it enters its run at its end."""
        try:
            if self.around.queue_depth():
                return False
        except HomeostatError:
            return False
        with reading() as session:
            return cadence.complete(session, self.around.entries, window)

    def _sample_depth(self, t: float) -> None:
        try:
            self.depth.append(Point(t=round(t, 1), value=self.around.queue_depth()))
        except HomeostatError:
            # The broker is away: a gap in the plot says so better than a made-up figure.
            return

    def _recheck(self) -> None:
        """Have what a fault left behind checked again: its next tick may be minutes away."""
        left = self._not_running()
        for name in left:
            ask_for_check(name, self._interval(name))
        if left:
            self.progress.line(f"checked again after the faults: {', '.join(left)}")
            await_true(lambda: not self._not_running(), RECOVER_S)

    @staticmethod
    def _not_running() -> list[str]:
        with reading() as session:
            return [view.name for view in overview(session) if view.state is not State.RUNNING]


def conduct(around: Surroundings, plan: Plan, progress: Progress) -> Facts:
    """Run a stress run and return what was observed."""
    return Conductor(around, plan, progress).run()
