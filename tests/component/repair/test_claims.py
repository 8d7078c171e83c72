"""Two workers never mend the same incident twice, and a dead one is replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from homeostat.clock import utcnow
from homeostat.incidents import lifecycle
from homeostat.incidents.lifecycle import State
from homeostat.repair import claims
from homeostat.repair.story import tell
from homeostat.settings import settings
from homeostat.store import database
from homeostat.store.incidents import Incident, TimelineEntry
from homeostat.store.repair import Repair
from tasks import fix_analysis
from tests.component.repair.live_scenes import analysis_job, now_of, strike

ROOT = Path(__file__).parents[3]
_CLAIMS = """
import sys
from pathlib import Path
from homeostat.incidents import lifecycle
from homeostat.incidents import lifecycle
from homeostat.incidents.lifecycle import State
from homeostat.repair import claims
from homeostat.repair.story import tell
from homeostat.store import database
print("ready", flush=True)
sys.stdin.readline()
with database.transaction() as session:
    incident = lifecycle.find(session, sys.argv[1])
    print("held" if claims.take(session, incident, Path("/r"), "c") else "refused", flush=True)
sys.stdin.readline()
"""


def a_worker(incident: Incident) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _CLAIMS, incident.id],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "HOMEOSTAT_DATABASE_URL": settings().database_url},
    )  # fmt: skip


def says(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    return worker.stdout.readline().strip()


def go_on(worker: subprocess.Popen[str]) -> None:
    assert worker.stdin is not None
    worker.stdin.write("\n")
    worker.stdin.flush()


@pytest.mark.usefixtures("store")
def test_of_three_processes_that_ask_at_once_one_holds_it_until_it_dies() -> None:
    incident = strike()
    workers = [a_worker(incident) for _ in range(3)]
    try:
        assert [says(worker) for worker in workers] == ["ready"] * 3
        for worker in workers:
            go_on(worker)
        said = [says(worker) for worker in workers]
        assert sorted(said) == ["held", "refused", "refused"]
        assert taken(incident) is None, "its holder lives"
        holder = workers[said.index("held")]
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert taken(incident) is not None, "and nobody waits for a lease that the dead had"
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    with database.reading() as session:
        assert len(session.scalars(select(Repair)).all()) == 1


def taken(incident: Incident) -> Repair | None:
    with database.transaction() as session:
        return claims.take(session, session.get_one(Incident, incident.id), Path("/r"), "c")


@pytest.mark.usefixtures("sqlite_store")
def test_a_holder_on_another_host_is_believed_until_its_lease_runs_out() -> None:
    incident = strike()
    repair = taken(incident)
    assert repair is not None
    with database.transaction() as session:
        session.get_one(Repair, repair.id).holder = "elsewhere:7:1.00"
    assert taken(incident) is None
    with database.transaction() as session:
        session.get_one(Repair, repair.id).lease_until = utcnow() - timedelta(seconds=1)
    assert taken(incident) is not None


@pytest.mark.usefixtures("sqlite_store")
def test_each_opening_has_a_repair_of_its_own() -> None:
    incident = strike()
    first = taken(incident)
    with database.transaction() as session:
        session.get_one(Incident, incident.id).openings = 2
    second = taken(incident)
    assert first is not None
    assert second is not None
    assert first.id != second.id


@pytest.mark.usefixtures("sqlite_store")
def test_a_search_that_ended_in_vain_before_its_worker_died_is_not_done_again() -> None:
    incident = strike()
    repair = taken(incident)
    assert repair is not None
    with database.transaction() as session:
        lifecycle.transition(session, incident.id, State.ANALYSING, actor="test")
        row = session.get_one(Repair, repair.id)
        row.status = "refused"
        tell(row, "not_found: every candidate was refused")
    fix_analysis.analyse(incident_id=incident.id, job_id=analysis_job(incident))
    assert now_of(incident).state == "escalated"
    with database.reading() as session:
        entries = session.scalars(select(TimelineEntry).order_by(TimelineEntry.id)).all()
    assert entries[-1].detail["reason"] == "every candidate was refused"
