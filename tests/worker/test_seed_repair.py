"""The seed defects, from the failed boot through the real fix-analysis worker to the next boot."""

from __future__ import annotations

import subprocess
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from homeostat.repair.drill.patient import Patient
from homeostat.repair.drill.seed import DISPATCHED_WITHIN_S, PRIORITY, QUEUE, Look, look
from homeostat.repair.drill.seeds import PLATFORM
from homeostat.repair.sandbox import Isolation, detect_isolation
from homeostat.store.embedded import EmbeddedServer
from homeostat.store.incidents import Incident
from homeostat.store.jobs import Job
from homeostat.store.repair import Repair
from tests.running_stack import environment, homeostat
from tests.waiting import wait_until
from tests.worker.rig import process

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
    ),
]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    made = Patient(tmp_path, PLATFORM)
    made.lay_out()
    return made


def env_of(patient: Patient) -> dict[str, str]:
    """The surgeon's own, healthy source, on the patient's store and broker."""
    return environment(
        patient.settings.state_dir,
        HOMEOSTAT_REPOSITORY=str(patient.repository),
        HOMEOSTAT_MODE="ENFORCED",
        PYTHONPATH=str(ROOT),
    )


def fix_worker(patient: Patient, log: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """The worker of the fix-analysis queue, as the stack starts it."""
    return process(
        "-A", "workers.app", "worker", "-Q", QUEUE, "-c", "2", "-n", "fix@%h",
        "--without-gossip", "--without-mingle", log=log, env=env_of(patient),
    )  # fmt: skip


def repairs(patient: Patient) -> dict[str, Repair]:
    """The repairs that have come to a decision, by component."""
    decided = ("applied", "waiting", "refused", "none_found", "healthy", "failed")
    with patient.reading() as session:
        rows = session.execute(
            select(Incident.component, Repair)
            .join(Repair, Repair.incident_id == Incident.id)
            .where(Repair.status.in_(decided), Incident.state != "analysing")
        )
        return {row.component: row.Repair for row in rows}


def jobs_of(patient: Patient, found: Look) -> list[Job]:
    ids = {item["id"] for item in found.incidents}
    with patient.reading() as session:
        rows = session.scalars(select(Job).where(Job.task == "fix_analysis.analyse")).all()
    return [row for row in rows if row.kwargs["incident_id"] in ids]


def test_both_defects_are_mended_by_the_worker_that_takes_their_tasks(
    patient: Patient, tmp_path: Path
) -> None:
    with EmbeddedServer(patient.settings):
        before = look(patient)
        assert before.short["running"] == 18, before.short
        assert [item["priority"] for item in before.incidents] == [PRIORITY] * 2
        late: list[Any] = [item["dispatched_after_s"] for item in before.incidents]
        assert all(one is not None and one <= DISPATCHED_WITHIN_S for one in late), late
        assert [job.started_at for job in jobs_of(patient, before)] == [None, None]
        with fix_worker(patient, tmp_path / "fix.log"):
            found = wait_until(
                lambda: done if len(done := repairs(patient)) == 2 else {}, "both are decided", 240
            )
            wait_until(
                lambda: all(job.state == "done" for job in jobs_of(patient, before)),
                "their jobs end", 30,
            )  # fmt: skip
        for component, repair in found.items():
            assert repair.status in {"applied", "waiting"}, (component, repair.story)
            # Where the evidence leaves it to a person, the test is that person.
            if repair.status == "waiting":
                done = homeostat("fix", "approve", repair.id, env=env_of(patient))
                assert done.returncode == 0, done.stderr
        assert sorted(patient.changed()) == sorted(seed.path for seed in PLATFORM)
        after = look(patient)
    assert after.short["running"] == 20, after.short
