"""What makes a foreign application's failures hard to see loses and doubles none of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery, chord
from sqlalchemy import select

from homeostat.settings import Settings, settings
from homeostat.store import database
from homeostat.store.embedded import EmbeddedServer
from homeostat.store.incidents import Incident
from tests.waiting import wait_until
from tests.worker import rig


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Celery]:
    """A running worker of the foreign application, and what sends it tasks."""
    database.migrate()
    own = Settings(state_dir=tmp_path / "foreign")
    with EmbeddedServer(own):
        words = ("worker", "-c", "2", "--without-gossip", "--without-mingle")
        state = str(settings().state_dir)
        module = "tests.worker.foreign_app"
        with rig.celery(*words, app=module, FOREIGN_URL=own.broker, HOMEOSTAT_STATE_DIR=state):
            made = Celery("client", broker=own.broker, backend=own.broker, set_as_current=False)
            made.conf.task_default_queue = "foreign"
            wait_until(lambda: made.control.ping(timeout=0.5), "the worker answers", 60)
            yield made
            made.close()


def counts() -> dict[str | None, tuple[str, int]]:
    with database.reading() as session:
        rows = session.scalars(select(Incident)).all()
    assert len({row.task for row in rows}) == len(rows), [row.label for row in rows]
    return {row.task: (row.type, row.occurrences) for row in rows}


@pytest.mark.slow
def test_no_failure_of_a_foreign_application_is_lost_or_doubled(
    client: Celery, tmp_path: Path
) -> None:
    deaths = tmp_path / "deaths"
    requeued = client.send_task("foreign.requeued", (os.fspath(deaths),))
    client.send_task("foreign.hooked")
    client.send_task("foreign.retried", kwargs={"host": "db"})
    client.send_task("foreign.ignored")
    client.send_task("foreign.unserialisable")
    parts = [client.signature("foreign.part", (number,)) for number in (1, 0)]
    chord(parts, app=client)(client.signature("foreign.sum"))
    assert requeued.get(timeout=30) == "done"
    expected = {
        "foreign.requeued": ("WorkerLostError", 2),
        "foreign.hooked": ("LookupError", 1),
        "foreign.retried": ("OSError", 1),
        "foreign.part": ("ZeroDivisionError", 1),
    }

    def seen() -> bool:
        found = counts()
        return "foreign.unserialisable" in found and expected.items() <= found.items()

    wait_until(seen, "each is an incident", 30)
    assert counts().keys() == expected.keys() | {"foreign.unserialisable"}
