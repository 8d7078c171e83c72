"""What a report calls a fix was one: a playbook or a patch, and no run of luck."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import JsonValue

from homeostat.clock import utcnow
from homeostat.incidents import lifecycle
from homeostat.incidents.failure import Failure, Source
from homeostat.incidents.lifecycle import State
from homeostat.incidents.recognition import report
from homeostat.store.database import reading, transaction
from homeostat.store.incidents import Incident
from homeostat.store.repair import KnownFix, Repair
from homeostat.stress.evidence import incidents
from homeostat.stress.evidence.window import Window
from homeostat.stress.facts import IncidentFacts

pytestmark = pytest.mark.usefixtures("sqlite_store")


def ended(detail: dict[str, JsonValue]) -> str:
    """Open an incident and end it so; return its id."""
    failure = Failure.without_frames("OddError", "It is odd.", Source.TASK, "part")
    with transaction() as session:
        found = report(session, failure).id
        lifecycle.transition(session, found, State.RESOLVED, actor="t", detail=detail)
    return found


def gathered() -> IncidentFacts:
    now = utcnow()
    window = Window(now - timedelta(minutes=1), now + timedelta(seconds=1))
    with reading() as session:
        return incidents.gather(session, window, [], {})


def test_what_healthy_runs_ended_was_not_fixed() -> None:
    ended({"healthy_runs": 3})
    found = gathered()
    assert (found.resolved, found.first_fix_s) == (1, None)
    assert (found.rows[0].fix, found.rows[0].proof) == ("", "")


@pytest.mark.parametrize(
    ("detail", "fix", "proof"),
    [
        ({"playbook": "restart", "evidence": [{}, {}]}, "restart", "2 post-conditions"),
        ({"repair": "r-1", "evidence": "its command passes"}, "r-1", "its command passes"),
    ],
)
def test_a_playbook_and_a_patch_are_fixes_with_their_proof(
    detail: dict[str, JsonValue], fix: str, proof: str
) -> None:
    ended(detail)
    found = gathered()
    assert found.first_fix_s is not None
    assert (found.rows[0].fix, found.rows[0].proof) == (fix, proof)


def known(age: timedelta) -> KnownFix:
    text = dict.fromkeys(("group_key", "strategy", "defect", "side", "title", "diff"), "x")
    rows: dict[str, dict[str, str]] = {
        name: {} for name in ("parameters", "changes", "preimages", "proof")
    }
    patch, made = f"{age.total_seconds():.0f}", utcnow() - age
    return KnownFix(replay_key="k", patch=patch, created_at=made, **text, **rows)


@pytest.mark.parametrize(("from_knowledge", "seconds"), [(True, 2.5), (False, None)])
def test_knowledge_grows_and_a_repeat_is_timed(
    from_knowledge: bool,  # noqa: FBT001  # what the repair's row says
    seconds: float | None,
) -> None:
    incident_id = ended({"repair": "r-1"})
    with transaction() as session:
        session.add_all([known(timedelta(days=1)), known(timedelta(0))])
        opened = session.get_one(Incident, incident_id).opened_at
        session.add(
            Repair(
                incident_id=incident_id, repository="r", command="c", status="applied",
                applied_at=opened + timedelta(seconds=2.5), changes={}, preimages={}, story=[],
                outcome={"from_knowledge": from_knowledge},
            )
        )  # fmt: skip
    found = gathered()
    assert (found.knowledge_before, found.knowledge_after) == (1, 2)
    assert found.repeat_fix_s == seconds
