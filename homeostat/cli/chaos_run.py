"""Runs scenarios on the settings' own stack: the one that runs, or one started for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from homeostat.chaos import campaign
from homeostat.chaos.catalogue import BY_ID
from homeostat.chaos.controls import ControlCache, revision
from homeostat.chaos.ground import Ground
from homeostat.chaos.load import Load
from homeostat.chaos.scenario import ControlResult, Scenario, ScenarioResult
from homeostat.chaos.waves import Wave
from homeostat.clock import new_id
from homeostat.errors import HomeostatError
from homeostat.settings import Settings, settings
from workers import control, state_file
from workers.stack import Stack
from workers.state_file import StackState

#: The longest that the controls of one run may take, in seconds: three bounds, twice, and starts.
CONTROLS_TIMEOUT_S = 600.0

Progress = Callable[[str], None]


class ControlRunError(HomeostatError):
    """The control runs could not be carried out; look into the named log."""


@contextmanager
def a_stack(chosen: Settings, progress: Progress) -> Iterator[StackState]:
    """Give the state of the stack that runs on this folder, or of one started for the block."""
    running = state_file.running(chosen)
    if running is not None:
        control.install_dispatcher()
        yield running
        return
    with Stack(chosen, progress=progress) as state:
        control.install_dispatcher()
        yield state


def run_scenarios(
    scenarios: Sequence[Scenario], *, rate: float, progress: Progress
) -> list[ScenarioResult]:
    """Run the scenarios one after another under load and return their results."""
    chosen = settings()
    run_id = new_id()
    history = chosen.ensure_state_dir() / "chaos" / run_id / "history.jsonl"
    with a_stack(chosen, progress), Load(history, rate_per_s=rate) as load:
        wave = Wave(1, tuple((scenario,) for scenario in scenarios))
        ground = Ground(chosen)
        return campaign.run_waves(
            [wave], ground, load, run_id=run_id, controls=_kept(chosen), progress=progress
        )


def _kept(chosen: Settings) -> dict[str, ControlResult]:
    """Return the controls that an earlier stress run of this very code kept on this folder."""
    if not chosen.recovery:
        return {}  # This run is a control itself.
    cache = ControlCache(chosen, revision())
    return {name: found for name in BY_ID if (found := cache.get(name))}


def run_controls(
    chosen: Settings, scenario_ids: Sequence[str], progress: Progress
) -> list[ScenarioResult]:
    """Run the scenarios with recovery off on a throwaway stack, in a process of its own.

    The process reads its own settings, so nothing of it can reach the stack under test. Raises
    ControlRunError where it gave no results.
    """
    parent = chosen.ensure_state_dir() / "chaos"
    parent.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="control-", dir=parent))
    log = parent / "controls.log"
    command = [sys.executable, "-m", "homeostat.cli", "chaos", "run", *scenario_ids, "--json"]
    try:
        with log.open("w", encoding="utf-8") as errors:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                timeout=CONTROLS_TIMEOUT_S,
                env=_control_environment(folder),
                check=False,
            )
        results = json.loads(done.stdout)["results"]
    except (subprocess.TimeoutExpired, ValueError, KeyError) as error:
        raise ControlRunError(f"The control runs gave no results; look into {log}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    progress(f"controls: {len(results)} run with recovery off")
    return [ScenarioResult.model_validate(row) for row in results]


def _control_environment(folder: Path) -> dict[str, str]:
    """Return an environment in which nothing is shared with the stack under test."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HOMEOSTAT_")}
    return {**kept, "HOMEOSTAT_STATE_DIR": str(folder), "HOMEOSTAT_RECOVERY": "false"}
