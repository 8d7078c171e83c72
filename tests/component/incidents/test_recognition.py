"""One failure is one incident, counted exactly, with one analysis per opening."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from homeostat.clock import utcnow
from homeostat.incidents import (
    background,
    lifecycle,
    recognition,
    recovery,
    signature,
    views,
)
from homeostat.incidents.counting import total
from homeostat.incidents.failure import Failure, Severity
from homeostat.incidents.lifecycle import State
from homeostat.incidents.recognition import report
from homeostat.incidents.signature import Basis
from homeostat.settings import settings
from homeostat.store import database
from homeostat.store.incidents import Bundle, Incident, TimelineEntry
from homeostat.store.jobs import Job
from tests.conftest import forget_settings

ROOT = Path(__file__).parents[3]


def lost(message: str = "signal 9 Job: 3", task: str = "shop.ship") -> Failure:
    return Failure.without_frames("WorkerLostError", message, "worker", "shop", task)


def ship(number: int) -> None:
    raise ValueError(f"order {number} is not open")


def raised(number: int = 1) -> Failure:
    try:
        ship(number)
    except ValueError as error:
        return Failure.from_exception(error, source="task", component="shop", task="shop.ship")
    raise AssertionError


def again(failure: Failure, times: int = 1, **how: object) -> Incident:
    for _ in range(times):
        with database.transaction() as session:
            incident = report(session, failure, **how)  # type: ignore[arg-type]  # the keywords of `report`
    return incident


def events(incident: Incident) -> list[str]:
    with database.reading() as session:
        return list(
            session.scalars(
                select(TimelineEntry.event)
                .where(TimelineEntry.incident_id == incident.id)
                .order_by(TimelineEntry.id)
            )
        )


def analyses(incident: Incident) -> list[Job]:
    with database.reading() as session:
        jobs = session.scalars(select(Job).where(Job.task == recognition.ANALYSE)).all()
        return [job for job in jobs if job.kwargs == {"incident_id": incident.id}]


def count() -> int:
    with database.reading() as session:
        return session.scalar(select(func.count(Incident.id))) or 0


@pytest.mark.usefixtures("store")
def test_a_failure_opens_one_incident_with_all_that_belongs_to_it() -> None:
    incident = again(raised())
    assert incident.state == State.OPEN
    assert incident.label.startswith("shop_ValueError_")
    assert events(incident) == ["opened"]
    (job,) = analyses(incident)
    assert (job.queue, job.priority) == ("fix_analysis", 10)
    with database.reading() as session:
        stored = session.get_one(Bundle, (incident.id, 1)).content
    assert stored["exception"][0]["type"] == "ValueError"
    assert {"component", "related", "queues", "changed"} <= stored.keys()


@pytest.mark.usefixtures("sqlite_store")
def test_the_bundle_tells_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    first = again(lost(task="other.task"))
    before = settings().worker_concurrency
    monkeypatch.setenv("HOMEOSTAT_WORKER_CONCURRENCY", "7")
    forget_settings()
    try:
        ship(1)
    except ValueError as error:
        failure = Failure.from_exception(error, source="cycle", component="kernels.scheduler")
    incident = again(failure)
    with database.transaction() as session:
        content = session.get_one(Bundle, (incident.id, 1)).content
        assert content["component"]["spec"]["name"] == "scheduler"
        assert content["changed"]["settings"] == {"worker_concurrency": [before, 7]}
        assert [other["id"] for other in content["related"]] == [first.id]
        assert content["queues"]["fix_analysis"]["waiting"] == 1
        assert background.enrich(session, incident, background.look_around())
        enriched = session.get_one(Bundle, (incident.id, 1)).content
    assert enriched["packages"]["celery"]
    assert enriched["source"].keys() & {"diff", "unavailable"}
    assert enriched["exception"] == content["exception"]


@pytest.mark.usefixtures("store")
def test_repetitions_are_counted_and_open_nothing() -> None:
    for number in range(12):
        incident = again(raised(number))
    assert (incident.occurrences, count(), len(analyses(incident))) == (12, 1, 1)
    with database.reading() as session:
        assert total(session, incident.id) == 12
    assert events(incident) == ["opened", "recurred"]


@pytest.mark.usefixtures("sqlite_store")
def test_different_failures_are_different_incidents() -> None:
    for number in range(10):
        again(lost(task=f"shop.task_{chr(97 + number)}"), times=2)
    assert count() == 10


@pytest.mark.usefixtures("store")
def test_it_reopens_when_the_failure_recurs() -> None:
    incident = again(raised())
    with database.transaction() as session:
        lifecycle.resolve(session, incident.id, actor="ann")
    reopened = again(raised())
    assert reopened.id == incident.id
    assert (reopened.state, reopened.openings, reopened.occurrences) == (State.OPEN, 2, 2)
    assert reopened.resolved_at is None
    assert events(incident) == ["opened", "resolved", "reopened"]
    assert len(analyses(incident)) == 2
    with database.reading() as session:
        assert session.get(Bundle, (incident.id, 2)) is not None


@pytest.mark.usefixtures("sqlite_store")
def test_what_was_resolved_long_ago_is_a_new_incident() -> None:
    incident = again(raised())
    with database.transaction() as session:
        lifecycle.resolve(session, incident.id, actor="ann")
        old = session.get_one(Incident, incident.id)
        old.resolved_at = utcnow() - recognition.REOPEN_WITHIN - timedelta(days=1)
    assert again(raised()).id != incident.id


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("severity", "priority"),
    [(Severity.CRITICAL, 10), (Severity.HIGH, 7), (Severity.MEDIUM, 4), (Severity.LOW, 1)],
)
def test_severity_decides_the_priority(severity: Severity, priority: int) -> None:
    (job,) = analyses(again(raised(), severity=severity))
    assert job.priority == priority


@pytest.mark.usefixtures("sqlite_store")
def test_severity_only_rises() -> None:
    again(raised(), severity="medium")
    assert again(raised(), severity="critical").severity == "critical"
    assert again(raised(), severity="low").severity == "critical"


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize("fail_after", [1, 2])
def test_a_secret_that_only_a_variable_s_name_gives_away_stands_nowhere(fail_after: int) -> None:
    def login(password: str) -> None:
        raise PermissionError(f"the server refused {password} for ann")

    try:
        login("opaque-words-1")
    except PermissionError as error:
        failure = Failure.from_exception(error, source="task", component="shop")
    incident = again(failure, fail_after=fail_after)
    with database.reading() as session:
        shown = views.incident(session, incident.id)
    assert "opaque-words-1" not in json.dumps(shown)
    assert incident.message == "the server refused [redacted] for ann"


@pytest.mark.usefixtures("store")
def test_below_the_threshold_it_is_counted_and_not_opened() -> None:
    incident = again(raised(), times=2, fail_after=3)
    assert (incident.state, incident.occurrences) == (State.PENDING, 2)
    assert analyses(incident) == []
    opened = again(raised(), fail_after=3)
    assert (opened.id, opened.state) == (incident.id, State.OPEN)
    assert len(analyses(incident)) == 1
    assert events(incident) == ["pending", "opened"]


def healthy() -> list[str]:
    with database.transaction() as session:
        return recovery.healthy_run(session, "shop")


@pytest.mark.usefixtures("store")
def test_failures_that_healthy_runs_part_never_reach_the_threshold() -> None:
    incident = again(raised(), times=2, fail_after=3)
    assert healthy() == [incident.id]
    for _ in range(3):
        blip = again(raised(), times=2, fail_after=3)
        assert (blip.id, blip.state, blip.failures_in_row) == (incident.id, State.PENDING, 2)
        assert healthy() == [incident.id]
    assert (blip.occurrences, blip.openings) == (8, 0)
    assert analyses(incident) == []
    opened = again(raised(), times=3, fail_after=3)
    assert (opened.id, opened.state, opened.openings) == (incident.id, State.OPEN, 1)
    assert len(analyses(incident)) == 1


@pytest.mark.usefixtures("store")
def test_a_resolved_incident_reopens_at_its_threshold_too() -> None:
    incident = again(raised(), times=2, fail_after=2)
    with database.transaction() as session:
        lifecycle.resolve(session, incident.id, actor="ann")
    again_pending = again(raised(), fail_after=2)
    assert (again_pending.id, again_pending.state) == (incident.id, State.PENDING)
    reopened = again(raised(), fail_after=2)
    assert (reopened.state, reopened.openings, reopened.occurrences) == (State.OPEN, 2, 4)
    assert len(analyses(incident)) == 2
    assert events(incident) == ["pending", "opened", "resolved", "pending", "reopened"]


@pytest.mark.usefixtures("sqlite_store")
def test_a_slower_recovery_that_a_component_asks_for_is_kept() -> None:
    incident = again(raised())
    for run in range(5):
        with database.transaction() as session:
            ended = recovery.healthy_run(session, "shop", recover_after=5)
        assert ended == ([incident.id] if run == 4 else [])


@pytest.mark.usefixtures("store")
def test_one_sighting_counts_once() -> None:
    incident = again(raised(), times=3, sighting="celery:task-1:0")
    assert incident.occurrences == 1
    assert again(raised(), sighting="celery:task-1:1").occurrences == 2


@pytest.mark.usefixtures("store")
def test_messages_alike_without_frames_join_one_incident() -> None:
    one = again(lost("pool worker alpha stopped while it was shipping parcels"))
    other = again(lost("pool worker beta stopped while it was shipping parcels"))
    assert other.id == one.id
    assert again(lost("the broker closed the connection")).id != one.id


@pytest.mark.usefixtures("sqlite_store")
def test_a_rule_that_fires_for_two_components_is_two_incidents() -> None:
    for component in ("kernels.message_bus", "kernels.scheduler"):
        again(
            Failure.without_frames(
                "HeartbeatGap", "no heartbeat for 30 s, expected one every 10 s", "trigger",
                component, "heartbeat_gap",
            ),
            times=2,
        )  # fmt: skip
    assert count() == 2


@pytest.mark.usefixtures("store")
def test_an_incident_under_an_older_key_is_found_and_rekeyed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def newer(basis: Basis) -> str:
        return f"newer-{basis.type}"

    incident = again(raised())
    algorithms = {**signature.ALGORITHMS, 2: newer}
    monkeypatch.setattr(
        recognition, "signature_of", lambda failure: signature.signature_of(failure, algorithms)
    )
    found = again(raised())
    assert (found.id, found.group_key, found.signature_version) == (
        incident.id,
        "newer-ValueError",
        2,
    )
    assert again(raised()).occurrences == 3
    assert events(incident) == ["opened", "rekeyed"]


@pytest.mark.usefixtures("store")
def test_a_rolled_back_report_leaves_nothing() -> None:
    with pytest.raises(ZeroDivisionError), database.transaction() as session:
        _ = report(session, raised()).occurrences / 0
    assert count() == 0
    with database.reading() as session:
        assert session.scalar(select(func.count(Job.id))) == 0


@pytest.mark.usefixtures("store")
def test_what_is_no_text_is_stored_all_the_same(tmp_path: Path) -> None:
    odd = "nul \x00, lone \ud800, byte \udcff"
    assert again(Failure.without_frames(f"Odd{odd}", odd, "worker", "shop", odd)).occurrences == 1
    path = tmp_path / os.fsdecode(b"not-utf8-\xff.py")
    path.write_text("# \u2028\ndef go(kept):\n    raise ValueError(kept)\n")
    space: dict[str, Any] = {"__name__": "odd"}
    exec(compile(path.read_text(), str(path), "exec"), space)  # noqa: S102  # the case under test
    try:
        space["go"]({odd: odd, "bytes": b"\xff\x00"})
    except ValueError as error:
        failure = Failure.from_exception(error, source="task", component="shop")
    assert again(failure, times=2).occurrences == 2
    text = (
        f'Traceback (most recent call last):\n  File "/x/{odd}.py", line 1, in f\nOddError: {odd}'
    )
    assert again(Failure.from_text(text, source="cli", component="shop")).occurrences == 1


@pytest.mark.usefixtures("sqlite_store")
def test_no_secret_stands_in_the_incidents_own_row() -> None:
    def connect() -> None:
        raise ConnectionError("https://ann:hunter2-hunter2@api.lan/x?token=abcdef123456 refused")

    try:
        connect()
    except ConnectionError as error:
        incident = again(Failure.from_exception(error, source="task", component="shop"))
    assert "hunter2" not in incident.message
    assert "abcdef123456" not in incident.message


def test_eight_processes_make_one_incident(store: str) -> None:
    # The benchmark is its own process group, and takes the settings' database where it is named.
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.incident_race", "--failures", "240", "--json"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert found["database"] == store
    assert (found["incidents"], found["occurrences"], found["analyses"]) == (1, 240, 1)
    assert found["counted"] == 240
    assert found["failed_processes"] == 0
