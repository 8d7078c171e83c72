"""The kernel tells what its sandbox was used for: proofs, and what was refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.errors import ProbeFailedError
from homeostat.kernels.sandbox import SandboxKernel
from homeostat.repair.sandbox import Isolation, detect_isolation
from homeostat.store import database
from homeostat.store.embedded import EmbeddedServer
from homeostat.store.jobs import Job
from homeostat.store.repair import Repair
from homeostat.supervision.check import Tick, run_check
from homeostat.supervision.events import PUBLISH
from tasks.upkeep import publish

pytestmark = [
    pytest.mark.usefixtures("sqlite_store", "redis_server"),
    pytest.mark.skipif(
        detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
    ),
]


def proof(*refusals: str) -> dict[str, Any]:
    steps = [{"name": "replay", "passed": True}, *({"name": one} for one in refusals)]
    return {"proof": {"holds": not refusals, "refusal": "; ".join(refusals), "steps": steps}}


def repaired(session: Session, age: timedelta, outcome: dict[str, Any]) -> None:
    repair = Repair(repository="r", command="c", status="applied", outcome=outcome)
    repair.changes, repair.preimages, repair.story = {}, {}, []
    repair.created_at = utcnow() - age
    session.add(repair)


def told() -> list[dict[str, Any]]:
    """Return what the bus has heard once a worker has worked the outbox off."""
    with database.reading() as session:
        jobs = session.scalars(select(Job).where(Job.task == PUBLISH).order_by(Job.id)).all()
    for job in jobs:
        publish(**job.kwargs, job_id=job.id)
    bus: Any = registry.find("kernels.message_bus")
    events = bus.happened(utcnow() - timedelta(hours=1))
    return [dict(event.payload) for event in events if event.topic == "sandbox.ran"]


def cycle() -> None:
    with database.transaction() as session:
        registry.find("kernels.sandbox").run(session, utcnow())


def test_what_ran_in_the_sandbox_is_told_once_and_again_when_it_was_used(
    redis_server: EmbeddedServer,
) -> None:
    del redis_server
    cycle()
    cycle()
    (idle,) = told()
    assert (idle["proofs"], idle["refused"], idle["broken_out_by"]) == (0, 0, [])
    assert idle["isolation"] == "bubblewrap"
    with database.transaction() as session:
        held = {"fix": proof(), "refused": [proof("suite: 2 failed")]}
        repaired(session, timedelta(minutes=5), held)
        repaired(session, timedelta(hours=2), held)
        repaired(session, timedelta(minutes=1), {"fix": None, "refused": []})
    cycle()
    used = told()[-1]
    assert (used["proofs"], used["steps"], used["refused"]) == (2, 3, 1)
    assert used["last_refusal"] == "suite: 2 failed"


class HoldsOnce(SandboxKernel):
    """A sandbox whose walls stand for the first attempt only."""

    attempts = 0

    def _attempt(self) -> dict[str, JsonValue]:
        self.attempts += 1
        return {**super()._attempt(), "network": self.attempts > 1}


def test_an_attempt_of_the_cycle_that_breaks_out_fails_the_check() -> None:
    kernel = HoldsOnce(registry.find("kernels.sandbox").context)
    tick = Tick("kernels.sandbox", utcnow(), 60.0)
    with (
        pytest.raises(ProbeFailedError, match="'network': True"),
        database.transaction() as session,
    ):
        run_check(session, kernel, tick)
    assert kernel.attempts == 2, "the probe before it had passed"
