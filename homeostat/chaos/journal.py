"""Export to the Chaos Toolkit's experiment and journal formats (version 1.x).

Only the format is shared: our engine runs the scenarios. Providers name our own modules.
"""

from __future__ import annotations

from pydantic import JsonValue

from homeostat.chaos.scenario import Outcome, Proof, Scenario, ScenarioResult

#: `status` of a journal for each outcome, as the Chaos Toolkit words them.
_STATUS = {
    Outcome.PASS: "completed",
    Outcome.FAIL: "failed",
    Outcome.INVALID: "aborted",
    Outcome.SKIPPED: "interrupted",
}


def experiment(scenario: Scenario) -> dict[str, JsonValue]:
    """Return the scenario as an experiment document."""
    arguments = {"target": scenario.target, **scenario.arguments}
    return {
        "version": "1.0.0",
        "title": f"{scenario.id} {scenario.title}",
        "description": scenario.hypothesis,
        "tags": [scenario.group, scenario.severity.value],
        "steady-state-hypothesis": {
            "title": scenario.hypothesis,
            "probes": [
                _activity("probe", "steady-state", "homeostat.chaos.steady_state", "look", {})
                | {"tolerance": True}
            ],
        },
        "method": [
            _activity(
                "action",
                scenario.fault,
                "homeostat.chaos.faults",
                scenario.fault,
                arguments,
            )
        ],
        "rollbacks": [
            _activity("action", scenario.rollback, "homeostat.chaos.rollback", "carry_out", {})
        ],
    }


def _activity(
    kind: str, name: str, module: str, function: str, arguments: dict[str, JsonValue]
) -> dict[str, JsonValue]:
    provider: dict[str, JsonValue] = {
        "type": "python",
        "module": module,
        "func": function,
        "arguments": arguments,
    }
    return {"type": kind, "name": name, "provider": provider}


def journal(scenario: Scenario, result: ScenarioResult) -> dict[str, JsonValue]:
    """Return the result as a journal document.

    Unlike the Chaos Toolkit's own runtime, an injection that did not happen is `aborted` here,
    never `completed`.
    """
    window, back = result.window, result.rolled_back
    document = experiment(scenario)
    return {
        "chaoslib-version": "1.43.0",
        "platform": "homeostat",
        "experiment": document,
        "start": window.start.isoformat() if window else None,
        "end": window.end.isoformat() if window else None,
        "duration": (window.end - window.start).total_seconds() if window else 0.0,
        "status": _STATUS[result.outcome],
        "deviated": result.outcome is Outcome.FAIL,
        "steady_states": {
            "before": _state(result.steady_before),
            "after": _state(result.steady_after),
        },
        "run": [
            {
                "activity": document["method"],
                "status": "succeeded" if result.happened and result.happened.held else "failed",
                "output": result.happened.observed if result.happened else None,
            }
        ],
        "rollbacks": [] if back is None else [_rollback(document["rollbacks"], back)],
    }


def _rollback(activity: JsonValue, back: Proof) -> JsonValue:
    status = "succeeded" if back.held else "failed"
    return {"activity": activity, "status": status, "output": back.observed}


def _state(proof: Proof | None) -> dict[str, JsonValue]:
    if proof is None:
        return {"steady_state_met": None, "probes": []}
    return {"steady_state_met": proof.held, "probes": [proof.model_dump(mode="json")]}
