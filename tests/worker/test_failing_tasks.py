"""Failures of tasks on a real worker: thresholds, and the kernel's own kill for want of memory."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from sqlalchemy import select, text

from homeostat import registry
from homeostat.incidents import spool, views
from homeostat.incidents.lifecycle import State
from homeostat.settings import settings
from homeostat.store import database
from homeostat.store.incidents import Incident
from tests.conftest import forget_settings
from tests.waiting import wait_until
from tests.worker import rig
from tests.worker.failing_app import MEMORY_GROUPS
from workers.app import app
from workers.config import celery_settings
from workers.dispatch import CeleryDispatcher

#: An end that nobody asked for is an incident within this many seconds.
NOTICED_S = 5.0
LIMIT = 96 * 1024 * 1024


@pytest.fixture
def sender(sqlite_store: str, embedded_broker: object) -> Iterator[CeleryDispatcher]:
    """A running worker of the failing app, and what sends it tasks."""
    del sqlite_store, embedded_broker
    words = ("worker", "-Q", "checks,chaos", "-c", "1", "--without-gossip", "--without-mingle")
    with rig.celery(*words, app="tests.worker.failing_app"):
        client = Celery("failing-test", set_as_current=False)
        client.config_from_object(celery_settings(settings()))
        wait_until(lambda: client.control.ping(timeout=0.5), "the worker answers", 60)
        yield CeleryDispatcher(client)
        client.close()


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """A memory cgroup of the test's own, whose processes the kernel kills beyond its limit."""
    group = MEMORY_GROUPS / f"homeostat_test_{secrets.token_hex(6)}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT))
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    yield group
    wait_until(lambda: not (group / "cgroup.procs").read_text(), "the group is empty")
    group.rmdir()


def incidents() -> Sequence[Incident]:
    with database.reading() as session:
        return session.scalars(select(Incident).order_by(Incident.id)).all()


def test_a_component_s_incident_opens_at_its_threshold(sender: CeleryDispatcher) -> None:
    states = []
    for number in (1, 2, 3):
        sender.send("checks.plugins.valve", {})

        def counted(number: int = number) -> bool:
            return [row.occurrences for row in incidents()] == [number]

        wait_until(counted, f"failure {number} is counted")
        (incident,) = incidents()
        states.append((incident.state, incident.openings))
    assert states == [(State.PENDING, 0), (State.PENDING, 0), (State.OPEN, 1)]
    assert incident.component == "plugins.valve"


def test_a_bundle_raised_where_a_secret_was_opened_holds_it_nowhere(
    sender: CeleryDispatcher,
) -> None:
    value = f"made-up-{secrets.token_hex(12)}"
    manager: Any = registry.find("kernels.secret_manager")
    with database.transaction() as session:
        manager.store(session, "venue", value, actor="test")
    sender.send("stress.indiscreet", {"secret": "venue"}, queue="chaos")
    (incident,) = wait_until(incidents, "the failure is an incident", 60)
    with database.reading() as session:
        bundles = session.execute(text("SELECT * FROM incident_bundles")).all()
        told = json.dumps(views.incident(session, incident.id), default=str)
    assert "said no to" in told, "the failure itself is told"
    assert bundles
    assert value not in told + repr(bundles)
    database.engine().dispose()
    for path in settings().state_dir.parent.rglob("*"):
        if path.is_file() and not path.is_socket():
            assert value.encode() not in path.read_bytes(), path


def test_a_child_that_the_kernel_kills_for_memory_is_an_incident_that_names_its_task(
    sender: CeleryDispatcher, memory_group: Path, tmp_path: Path
) -> None:
    eaten = tmp_path / "eaten"
    sender.send("stress.hungry", {"group": memory_group.name, "eaten": str(eaten)})
    wait_until(eaten.exists, "it eats")
    began = time.monotonic()
    (killed,) = wait_until(incidents, "the kill is an incident", NOTICED_S)
    assert time.monotonic() - began < NOTICED_S
    assert "oom_kill 1" in (memory_group / "memory.oom_control").read_text()
    assert (killed.type, killed.task) == ("PoolChildLostError", "stress.hungry")
    assert killed.occurrences == 1
    assert "want of memory" in killed.message


def test_a_failure_while_the_store_is_away_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOMEOSTAT_DATABASE_URL", f"sqlite:///{tmp_path}/no such folder/x.sqlite3")
    forget_settings()
    task = app.tasks["checks.plugins.valve"]
    task.on_failure(LookupError("no valve"), "id-1", (), {}, None)
    (line,) = spool.path().read_text().splitlines()
    kept = json.loads(line)
    assert (kept["component"], kept["type"], kept["fail_after"]) == (
        "plugins.valve",
        "LookupError",
        3,
    )
