"""What is kept of each scenario: enough to understand it without having been there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from pydantic import JsonValue

from homeostat.chaos.scenario import Scenario, ScenarioResult
from homeostat.errors import HomeostatError
from homeostat.incidents.redaction import redactor
from homeostat.settings import Settings
from homeostat.store.database import reading
from homeostat.store.incidents import Bundle, Incident

#: Where the stack's processes write their logs, in the state folder.
LOGS = "logs"
#: The last bytes kept of each process's log.
LOG_TAIL = 40_000


def save(
    settings: Settings,
    run_id: str,
    scenario: Scenario,
    result: ScenarioResult,
    logs: Mapping[str, int],
) -> Path:
    """Write the scenario's folder under `<state folder>/chaos/<run>/<scenario>/`; return it.

    `logs` are the sizes of the log files before the fault, as `log_sizes` gave them.
    """
    folder = settings.state_dir / "chaos" / run_id / scenario.id
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "scenario.json", scenario.model_dump(mode="json"))
    _write(folder / "incident.json", _incident(result))
    _write(folder / "timeline.json", [step.model_dump(mode="json") for step in result.timeline])
    control = result.control.model_dump(mode="json") if result.control else None
    _write(folder / "control.json", control)
    _write(folder / "result.json", result.model_dump(mode="json"))
    (folder / "logs.txt").write_text(_logs(settings.state_dir / LOGS, logs), encoding="utf-8")
    (folder / "summary.md").write_text(summary(scenario, result), encoding="utf-8")
    result.forensics = str(folder.relative_to(settings.state_dir))
    return folder


def runs(settings: Settings) -> Counter[str]:
    """Return how often each scenario ran on this state folder, by its id."""
    return Counter(
        path.parent.name for path in (settings.state_dir / "chaos").glob("*/*/result.json")
    )


def _write(path: Path, value: JsonValue) -> None:
    path.write_text(json.dumps(value, indent=1, default=str) + "\n", encoding="utf-8")


def _incident(result: ScenarioResult) -> JsonValue:
    """Return the incident that noticed the fault, with its diagnostic bundle."""
    if result.noticed is None or not result.noticed.held:
        return None
    incident_id = str(result.noticed.observed["incident"])
    try:
        with reading() as session:
            incident = session.get(Incident, incident_id)
            if incident is None:
                return None
            bundle = session.get(Bundle, (incident_id, incident.openings))
            row = {c.key: _plain(getattr(incident, c.key)) for c in Incident.__table__.columns}
            return {**row, "bundle": bundle.content if bundle else None}
    except HomeostatError as error:
        return {"error": str(error)}


def _plain(value: object) -> JsonValue:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool | dict | None) else str(value)


def log_sizes(folder: Path) -> dict[str, int]:
    """Return the size of each log file now, so that only what comes after is looked at."""
    return {path.name: path.stat().st_size for path in folder.glob("*.log")}


def written_since(
    folder: Path, before: Mapping[str, int], *, most: int | None = None
) -> Iterator[tuple[str, str]]:
    """Yield each log file's name with what was written since, `most` bytes of it at most."""
    for path in sorted(folder.glob("*.log")):
        with path.open("rb") as file:
            size = path.stat().st_size
            start = before.get(path.name, 0)
            # A file that was rotated meanwhile is smaller than it was.
            start = start if start <= size else 0
            file.seek(start if most is None else max(start, size - most))
            yield path.name, file.read().decode(errors="replace")


def _logs(folder: Path, before: Mapping[str, int]) -> str:
    since = written_since(folder, before, most=LOG_TAIL)
    return redactor().text("\n".join(f"==== {name}\n{text}" for name, text in since))


def summary(scenario: Scenario, result: ScenarioResult) -> str:
    """Return the summary in words."""
    lines = [
        f"# {result.id} {result.title}: {result.outcome}",
        "",
        f"Hypothesis: {scenario.hypothesis}.",
        f"Noticed by: {scenario.noticed_by or 'nobody has to'}; remedy: {scenario.remedy}.",
        f"Bound: {scenario.bound_s:g} s ({scenario.bound_source}).",
        "",
        *(f"- {reason}" for reason in result.reasons),
        "",
        "| figure | seconds after the fault |",
        "|---|---|",
        *(
            f"| {name} | {'not seen' if value is None else f'{value:.2f}'} |"
            for name, value in (
                ("noticed", result.detect_s),
                ("remedied", result.restart_s),
                ("first effect", result.first_effect_s),
                ("steady state", result.heal_s),
                ("drained", result.drained_s),
            )
        ),
        "",
        f"Lost: {result.lost}; doubled: {result.doubled}.",
    ]
    if result.control:
        word = "failed as it must" if result.control.failed_as_it_must else "did not fail"
        lines.append(f"Control ({scenario.control}): {word}: {'; '.join(result.control.reasons)}.")
    return "\n".join(lines) + "\n"
