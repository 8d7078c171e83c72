"""A failure that no test names, or whose test passes, is replayed by the incident's own call."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from homeostat.incidents.call import Call
from homeostat.incidents.failure import Failure, Source
from homeostat.incidents.raised import Frame, Raised
from homeostat.incidents.recognition import report
from homeostat.repair.sandbox import Isolation, detect_isolation
from homeostat.store import database
from homeostat.store.incidents import Incident, TimelineEntry
from tasks import fix_analysis
from tests.component.repair.conftest import MakeRepository, git
from tests.component.repair.live_scenes import (
    EVIDENT,
    agent,
    analysis_job,
    now_of,
    repair_of,
    runs_well,
)

pytestmark = pytest.mark.skipif(
    detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
)

#: It names the function, and does not reach the line that fails.
PASSES = {
    "tests/test_prices.py": "from shop.prices import total\n\ndef test_it():\n    assert total\n"
}
#: A call that ends in the failure that was seen, and one that ends in another.
SHOWS = Call("shop.orders", "place", ("Ann", [1, 2]), {})
TOTAL = Call("shop.prices", "total", ([1, 2],), {"places": 1})
OTHER = Call("shop.prices", "total", ([1, 2],), {"discounts": 1})


def pursued(call: Call | None) -> Incident:
    """Report the failure of a task that was asked for by the call, and let it be analysed."""
    frame = Frame("shop.prices", "total", "shop/prices.py", 15, "return round(math.fsum", True)
    chain = (Raised("NameError", "name 'math' is not defined", (frame,)),)
    failure = Failure(Source.TASK, "shop.sell", "shop.sell", chain, "the file's hash", call=call)
    with database.transaction() as session:
        incident = report(session, failure)
    fix_analysis.analyse(incident_id=incident.id, job_id=analysis_job(incident))
    return incident


@pytest.mark.parametrize("files", [{}, PASSES], ids=["no test names it", "its test passes"])
def test_the_call_fails_before_the_patch_and_passes_after(
    make_mendable: MakeRepository, files: dict[str, str]
) -> None:
    repository = make_mendable(EVIDENT | files)
    incident = pursued(TOTAL)
    repair = repair_of(incident)
    assert (repair.status, now_of(incident).state) == ("applied", "verifying"), repair.story
    assert TOTAL.code in repair.command
    steps = {one["name"]: one for one in repair.outcome["fix"]["proof"]["steps"]}
    assert steps["replay"]["observed"]["before"] == "NameError: name 'math' is not defined"
    assert steps["replay"]["observed"]["after"] == "passed"
    assert "import math" in (repository / "shop/prices.py").read_text()
    runs_well(incident)
    assert agent().look(repair.id) is None
    assert now_of(incident).state == "resolved", "the call was made once more, on the fixed code"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (SHOWS, "passes, so it does not show the failure"),
        (OTHER, "fails otherwise than the incident did: TypeError"),
        (None, "its call cannot be made again"),
    ],
    ids=["passes", "fails otherwise", "no call"],
)
def test_what_the_call_does_not_show_goes_to_a_person(
    make_mendable: MakeRepository, call: Call | None, said: str
) -> None:
    repository = make_mendable(EVIDENT)
    incident = pursued(call)
    assert now_of(incident).state == "escalated"
    assert len(git(repository, "log", "--format=%s").splitlines()) == 1, "nothing was applied"
    assert said in reason_of(incident)


def reason_of(incident: Incident) -> str:
    """What the timeline says of why a person is asked."""
    with database.reading() as session:
        statement = select(TimelineEntry.detail).where(
            TimelineEntry.incident_id == incident.id, TimelineEntry.to_state == "escalated"
        )
        return str(session.scalars(statement).one()["reason"])
