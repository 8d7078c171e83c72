"""What the tests of the live repair share: a repository whose task fails, and its incident."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from sqlalchemy import select

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.incidents.failure import Failure, Source
from homeostat.incidents.raised import Frame, Raised
from homeostat.incidents.recognition import ANALYSE, report
from homeostat.incidents.recovery import healthy_run
from homeostat.kernels.coding_agent import CodingAgent
from homeostat.repair.pickup import STRAGGLERS
from homeostat.store import database
from homeostat.store.incidents import Incident, TimelineEntry
from homeostat.store.jobs import Job
from homeostat.store.repair import Repair
from tests.component.repair.conftest import GOOD, git, write

PRICES = GOOD["shop/prices.py"]
#: An import is gone: evident, so that it is applied without a person.
EVIDENT = {"shop/prices.py": PRICES.replace("import math\n", "")}
#: A parameter is gone: a person has to approve what brings it back.
UNCLEAR = {
    "shop/orders.py": GOOD["shop/orders.py"]
    .replace("prices, note=None):\n        self", "prices):\n        self")
    .replace("        self.note = note\n", "")
}
TEST = "from shop.prices import total\n\n\ndef test_total():\n    assert total([1, 2]) == 3\n"
TEST_NOTE = (
    "from shop.orders import place\n\n\n"
    "def test_place():\n    assert place('Ann', [1], note='quick').note == 'quick'\n"
)
TESTS = {"tests/test_prices.py": TEST, "tests/test_orders.py": TEST_NOTE}


#: An export is gone; its import shows the failure, so the proof needs no suite.
TILL = {
    "shop/__init__.py": GOOD["shop/__init__.py"]
    .replace("Order, place", "Order")
    .replace('"place", ', ""),
    "till.py": "from shop import place\n",
}


def failed_import() -> Incident:
    """Report the failed import of TILL."""
    frame = Frame("till", "<module>", "till.py", 1, "from shop import place", True)
    said = "cannot import name 'place' from 'shop' (shop/__init__.py)"
    failure = Failure(Source.TASK, "till", "till", (Raised("ImportError", said, (frame,)),), "h")
    with database.transaction() as session:
        return report(session, failure)


def break_again(repository: Path, drift: Mapping[str, str | None]) -> None:
    """Put a defect back, as a second careless merge would."""
    write(repository, drift)
    git(repository, "commit", "-q", "-am", "Drift again")


def strike(component: str = "shop.sell", *, unclear: bool = False) -> Incident:
    """Report the failure of the task, as a worker of the user's own application does."""
    frame = Frame("shop.prices", "total", "shop/prices.py", 15, "return round(math.fsum", True)
    raised = Raised("NameError", "name 'math' is not defined", (frame,))
    if unclear:
        frame = Frame("shop.orders", "place", "shop/orders.py", 14, "return Order(", True)
        said = "Order.__init__() got an unexpected keyword argument 'note'"
        raised = Raised("TypeError", said, (frame,))
    failure = Failure(Source.TASK, component, component, (raised,), "the file's hash")
    with database.transaction() as session:
        return report(session, failure)


def agent() -> CodingAgent:
    return cast("CodingAgent", registry.find("kernels.coding_agent"))


def now_of(incident: Incident) -> Incident:
    with database.reading() as session:
        return session.get_one(Incident, incident.id)


def repair_of(incident: Incident) -> Repair:
    with database.reading() as session:
        statement = select(Repair).where(Repair.incident_id == incident.id)
        return session.scalars(statement.order_by(Repair.created_at.desc())).first() or Repair()


def runs_well(incident: Incident) -> None:
    """Let a worker have taken the fix up a while ago, and the task have run since."""
    with database.transaction() as session:
        repair = session.get_one(Repair, repair_of(incident).id)
        long_ago = {"who": "worker@here:1", "at": (utcnow() - STRAGGLERS).isoformat(), "seconds": 1}
        repair.watch = {**repair.watch, "taken_up": [long_ago]}
        healthy_run(session, incident.component)


def states(incident: Incident) -> list[str]:
    """The states that the incident's timeline names, oldest first."""
    with database.reading() as session:
        entries = session.scalars(
            select(TimelineEntry)
            .where(TimelineEntry.incident_id == incident.id, TimelineEntry.to_state.is_not(None))
            .order_by(TimelineEntry.id)
        )
        return [str(entry.to_state) for entry in entries]


def analysis_job(incident: Incident) -> str:
    """The id of the job that recognition wrote for the analysis."""
    key = f"{ANALYSE}:{incident.id}:{incident.openings}"
    with database.reading() as session:
        return session.scalars(select(Job.id).where(Job.natural_key == key)).one()
