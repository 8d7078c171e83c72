"""Runs a stress run on the settings' own stack and writes its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

import beat_schedule
from homeostat.chaos.load import Told, enqueue
from homeostat.chaos.scenario import ScenarioResult
from homeostat.cli.chaos_run import a_stack, run_controls
from homeostat.settings import Settings, settings
from homeostat.store.database import migrate
from homeostat.stress import conclusion, render, run
from homeostat.stress.boot_facts import BootFacts
from homeostat.stress.facts import InputFacts
from homeostat.stress.plan import Plan
from homeostat.stress.render import ReportFiles
from homeostat.stress.report import Report
from homeostat.supervision.timetable import Entry
from homeostat.trading import flow
from workers import control
from workers.state_file import StackState

#: The task of one canary trade.
CANARY = "trade.canary"
REPORTS = "reports"


class LiveProgress:
    """Shows phases, events and the load's progress on standard error."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} s"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Take the bar away."""
        self._bar.stop()

    def phase(self, name: str) -> None:
        """Show a new phase."""
        self._console.print(f"[bold]▸ {name}[/]")

    def line(self, text: str) -> None:
        """Show one event."""
        self._console.print(f"  {text}", markup=False)

    def load(self, seconds: float, of: float) -> None:
        """Move the bar."""
        if self._task is None:
            self._task = self._bar.add_task("load", total=of)
        self._bar.update(self._task, completed=min(seconds, of))


@dataclass
class Here:
    """The surroundings of a run: this stack, this timetable, this input."""

    settings: Settings
    state: StackState
    say: Callable[[str], None]
    entries: Sequence[Entry] = beat_schedule.ENTRIES
    hooks: Sequence[str] = ()
    input: InputFacts = field(default_factory=lambda: InputFacts(kind="generator", run_seed=0))

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where Flower and the API answer."""
        return {"Flower": self.state.flower_url, "API": self.state.api_url}

    def run_controls(self, scenario_ids: Sequence[str]) -> list[ScenarioResult]:
        """Run the controls on a throwaway stack."""
        return run_controls(self.settings, scenario_ids, self.say)

    def boot(self) -> BootFacts | None:
        """Boot all components in this process and return the boot report."""
        from homeostat.supervision.boot import boot

        return BootFacts.model_validate(boot().model_dump(mode="json"))

    def canary(self, run_id: str) -> None:
        """Ask a worker for one canary trade."""
        if enqueue(CANARY, {"run_id": run_id}, f"{CANARY}:{run_id}", queue="trade") is not Told.OK:
            self.say(f"the canary {run_id} could not be asked for")

    def queue_depth(self) -> int:
        """Return how many messages wait on all queues."""
        return sum(control.queue_depths().values())


def run_stress(plan: Plan) -> tuple[Report, ReportFiles]:
    """Run the plan on this folder's stack, started for it where none runs; write the report."""
    chosen = settings()
    with LiveProgress() as progress:
        progress.phase("stack")
        with a_stack(chosen, progress.line) as state:
            migrate()
            here = Here(chosen, state, progress.line, input=the_input(chosen, plan))
            here.hooks = flow.HOOKS
            facts = run.conduct(here, plan, progress)
        progress.phase("report")
        folder = chosen.state_dir / REPORTS
        report = conclusion.conclude(facts, conclusion.load_previous(folder, before=facts.id))
        return report, render.write(report, folder / facts.id)


def the_input(chosen: Settings, plan: Plan) -> InputFacts:
    """Return what the workload is fed with under these settings."""
    from homeostat.trading.market import port

    market = port.market(chosen)
    recorded = chosen.market_data is not None
    return InputFacts(
        kind="recorded" if recorded else "generator",
        seed=None if recorded else chosen.market_seed,
        source=market.source,
        symbols=len(market.instruments),
        run_seed=plan.seed,
    )
