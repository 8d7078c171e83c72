"""What is told of each step of a repair: its story, and why, in the clarity record and the log."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat.repair.story import tell
from homeostat.store.repair import Repair
from homeostat.supervision import events
from homeostat.supervision.ports import Clarity

ACTOR = "kernels.coding_agent"
#: Refused candidates that a decision names as its alternatives.
MOST_ALTERNATIVES = 8


def step(
    session: Session,
    clarity: Clarity,
    repair: Repair,
    action: str,
    *,
    rule: str,
    outcome: str,
    actor: str = ACTOR,
    more: Mapping[str, JsonValue] | None = None,
) -> None:
    """Tell one step (`fix.proposed`, `fix.applied` …) everywhere, in the step's transaction."""
    found = repair.outcome.get("fix") or {}
    inputs: dict[str, JsonValue] = {
        "repair": repair.id,
        "failure": repair.outcome.get("failure", ""),
        "title": found.get("title", ""),
        "from_knowledge": bool(repair.outcome.get("from_knowledge")),
        "commit": repair.commit,
        **(more or {}),
    }
    refused: list[Mapping[str, JsonValue]] = [
        {"action": attempt["title"], "because": attempt["proof"]["refusal"]}
        for attempt in repair.outcome.get("refused", [])[:MOST_ALTERNATIVES]
    ]
    # The actor's name is the component's whose act it is; a person acts through the agent.
    clarity.record(
        session,
        component=ACTOR,
        action=f"fix.{action}",
        subject=repair.incident_id or repair.id,
        inputs=inputs if actor == ACTOR else {**inputs, "by": actor},
        rule=rule,
        alternatives=refused,
        outcome=outcome[:255],
    )
    told: dict[str, JsonValue] = {"repair": repair.id, "step": action, "outcome": outcome[:255]}
    events.tell(session, "fix.stepped", told, publisher=ACTOR, key=repair.incident_id or repair.id)
    tell(repair, f"{action}: {outcome}", actor)


def plan_of(repair: Repair) -> str:
    """Return what a person looks at before deciding: title, diff, proof, and why they are asked."""
    fix = repair.outcome["fix"]
    verdict = repair.outcome.get("verdict") or {}
    steps = "\n".join(f"  {one['name']}: {one['detail']}" for one in fix["proof"]["steps"])
    return (
        f"{fix['title']}\n\nFailure: {repair.outcome['failure']}\nRepair: {repair.id}\n"
        f"Waits because: {verdict.get('reason', '')}\n\n{fix['diff']}\nProof:\n{steps}\n"
    )
