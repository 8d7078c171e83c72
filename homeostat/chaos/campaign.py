"""A campaign: waves of scenarios under load on one stack, with forensics and controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from homeostat.chaos import engine, forensics
from homeostat.chaos.controls import ControlCache, judge
from homeostat.chaos.engine import Progress
from homeostat.chaos.ground import Ground
from homeostat.chaos.load import Load
from homeostat.chaos.scenario import ControlResult, Outcome, Scenario, ScenarioResult
from homeostat.chaos.waves import Wave
from homeostat.settings import Settings

#: Runs the scenarios of those ids with recovery off on a throwaway stack, and returns results.
RunControls = Callable[[Sequence[str]], list[ScenarioResult]]


def run_waves(
    waves: Sequence[Wave],
    ground: Ground,
    load: Load,
    *,
    run_id: str,
    controls: Mapping[str, ControlResult],
    progress: Progress,
    may_begin: Callable[[], bool] = lambda: True,
) -> list[ScenarioResult]:
    """Run the waves in order and return every scenario's result, with its control and forensics.

    A scenario for which `may_begin` says no (the time is up) is SKIPPED with that reason.
    """
    results = []
    for wave in waves:
        for batch in wave.batches:
            if not may_begin():
                results += [_skipped(one, wave.number, "the time was up") for one in batch]
                continue
            logs = forensics.log_sizes(ground.settings.state_dir / forensics.LOGS)
            for scenario, result in zip(
                batch,
                engine.run(batch, ground, load, wave=wave.number, progress=progress),
                strict=True,
            ):
                _with_control(result, controls.get(scenario.id))
                forensics.save(ground.settings, run_id, scenario, result, logs)
                results.append(result)
    return results


def _with_control(result: ScenarioResult, control: ControlResult | None) -> None:
    result.control = control
    if result.outcome is Outcome.PASS and control is not None and not control.failed_as_it_must:
        result.outcome = Outcome.INVALID
        why = "; ".join(control.reasons) or f"it ended {control.outcome}"
        result.reasons.append(f"its control did not fail ({why})")


def _skipped(scenario: Scenario, wave: int, why: str) -> ScenarioResult:
    return ScenarioResult(
        id=scenario.id,
        title=scenario.title,
        group=scenario.group,
        wave=wave,
        severity=scenario.severity,
        outcome=Outcome.SKIPPED,
        reasons=[why],
        bound_s=scenario.bound_s,
    )


def obtain_controls(
    settings: Settings, code: str, scenario_ids: Sequence[str], run: RunControls
) -> dict[str, ControlResult]:
    """Return the controls of the scenarios: from the cache, or run now where it has none."""
    cache = ControlCache(settings, code)
    missing = cache.missing(scenario_ids)
    fresh = {}
    for result in run(missing) if missing else []:
        fresh[result.id] = judge(result, code)
        cache.put(result.id, fresh[result.id])
    cached = {name: found for name in scenario_ids if (found := cache.get(name))}
    return {**cached, **fresh}
