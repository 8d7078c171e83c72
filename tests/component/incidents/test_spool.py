"""What the store could not take is kept, redacted and bounded, and counted exactly later."""

from __future__ import annotations

import json
import multiprocessing
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import func, select

from benchmarks.stack import PostgresServer
from homeostat.errors import StoreUnavailableError
from homeostat.incidents import spool
from homeostat.incidents.counting import total
from homeostat.incidents.failure import Failure
from homeostat.incidents.lifecycle import State
from homeostat.incidents.recognition import ANALYSE, report
from homeostat.store import database
from homeostat.store.incidents import Bundle, Incident
from homeostat.store.jobs import Job
from tests.conftest import forget_settings
from workers.reporting import report_or_keep

SECRET = "hunter2-hunter2"


def ship(number: int) -> None:
    password = SECRET
    raise ValueError(f"order {number} is not open, login {password}")


def raised(number: int = 1) -> Failure:
    try:
        ship(number)
    except ValueError as error:
        return Failure.from_exception(error, source="task", component="shop", task="shop.ship")
    raise AssertionError


def incidents() -> Sequence[Incident]:
    with database.reading() as session:
        return session.scalars(select(Incident).order_by(Incident.id)).all()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresServer]:
    """A PostgreSQL server of the test's own, migrated, that the settings point to."""
    # Not in pytest's folder: any other session that starts closes that to the server's user.
    folder = tempfile.TemporaryDirectory(prefix="homeostat-server-")
    try:
        made = PostgresServer(Path(folder.name))
    except FileNotFoundError as error:
        pytest.skip(str(error))
    with folder, made as found:
        monkeypatch.setenv("HOMEOSTAT_DATABASE_URL", found.url)
        forget_settings()
        database.migrate()
        yield found
        database.engine().dispose()


def test_failures_while_the_store_is_down_are_counted_when_it_is_back(
    server: PostgresServer,
) -> None:
    with database.transaction() as session:
        report(session, raised())
    server.stop()
    for number in range(20):
        report_or_keep(raised(number), sighting=f"task:{number}")
    lost = Failure.without_frames("WorkerLostError", "signal 9", "worker", "workers.main")
    report_or_keep(lost, sighting="lost:1")
    with pytest.raises(StoreUnavailableError):
        spool.take_in(database.transaction)
    server.start()
    assert spool.take_in(database.transaction) == 21
    first, second = incidents()
    assert (first.occurrences, second.occurrences) == (21, 1)
    assert second.type == "WorkerLostError"
    with database.reading() as session:
        assert (total(session, first.id), total(session, second.id)) == (21, 1)
        jobs = session.scalar(select(func.count(Job.id)).where(Job.task == ANALYSE))
    assert jobs == 2
    assert spool.take_in(database.transaction) == 0


@pytest.mark.usefixtures("sqlite_store")
def test_the_kept_failure_opens_the_incident_that_it_would_have_opened() -> None:
    assert spool.keep(raised(), severity="medium")
    assert spool.take_in(database.transaction) == 1
    (kept,) = incidents()
    with database.transaction() as session:
        live = report(session, raised(2))
        content = session.get_one(Bundle, (kept.id, 1)).content
    assert (live.id, live.occurrences) == (kept.id, 2)
    assert (live.replay_key, kept.severity) == (kept.replay_key, "medium")
    frame = content["exception"][0]["frames"][-1]
    assert (frame["function"], frame["locals"]["number"]) == ("ship", 1)


@pytest.mark.usefixtures("sqlite_store")
def test_what_was_taken_in_half_way_is_not_counted_twice() -> None:
    for number in range(3):
        spool.keep(raised(number))
    kept = spool.path().read_bytes()
    assert spool.take_in(database.transaction) == 3
    spool.path().write_bytes(kept)
    spool.take_in(database.transaction)
    assert [row.occurrences for row in incidents()] == [3]


@pytest.mark.usefixtures("sqlite_store")
def test_a_threshold_holds_for_what_was_kept() -> None:
    for number in range(3):
        spool.keep(raised(number), fail_after=4)
    spool.take_in(database.transaction)
    assert [(row.state, row.failures_in_row) for row in incidents()] == [(State.PENDING, 3)]


def test_no_secret_stands_in_the_file_and_nobody_else_may_read_it() -> None:
    spool.keep(raised())
    text = spool.path().read_text()
    assert SECRET not in text
    assert "order 1 is not open" in text
    assert spool.path().stat().st_mode & 0o077 == 0


def test_the_bundle_is_kept_once_and_the_file_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        assert spool.keep(raised(number))
    lines = [json.loads(line) for line in spool.path().read_text().splitlines()]
    assert [line["bundle"] is not None for line in lines] == [True, False, False, False, False]
    monkeypatch.setattr(spool, "LARGEST", spool.path().stat().st_size)
    assert not spool.keep(raised())
    assert len(spool.path().read_text().splitlines()) == 5


@pytest.mark.usefixtures("sqlite_store")
def test_a_line_that_a_killed_process_left_half_costs_only_itself() -> None:
    spool.keep(raised())
    with spool.path().open("ab") as file:
        file.write(spool.path().read_bytes()[:200] + b"\n")
    spool.keep(raised(2))
    spool.take_in(database.transaction)
    assert [row.occurrences for row in incidents()] == [2]


def keep_many(count: int) -> None:
    for number in range(count):
        spool.keep(raised(number))


@pytest.mark.usefixtures("sqlite_store")
def test_many_processes_keep_side_by_side_while_one_takes_in() -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=keep_many, args=(25,)) for _ in range(4)]
    for writer in writers:
        writer.start()
    taken = 0
    while any(writer.is_alive() for writer in writers):
        taken += spool.take_in(database.transaction)
    for writer in writers:
        writer.join()
    taken += spool.take_in(database.transaction)
    assert taken == 100
    assert [row.occurrences for row in incidents()] == [100]
