"""The beat, as a real process on real brokers, judged by what stands in the queues."""

from __future__ import annotations

import os
import signal
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from redis import Redis

from beat_schedule import ENTRIES
from homeostat.clock import from_iso, utcnow
from homeostat.settings import settings
from homeostat.store import beat as store
from homeostat.store.database import migrate, reading, transaction
from homeostat.store.embedded import EmbeddedServer
from homeostat.supervision import cadence
from tests.waiting import wait_until
from tests.worker.rig import Inbox, beat, rows_of, table, worker
from workers.publishing import MARK

FAST = table(*({"name": f"part{n}", "every_s": 1} for n in range(4)))
#: The shortest interval that ships.
SHORTEST = timedelta(seconds=min(entry.interval_s for entry in ENTRIES))
START_S = 30


def active() -> str:
    with reading() as session:
        return store.lock_of(session).holder


def pid_of(holder: str) -> int:
    return int(holder.split("|")[2])


def missed(inbox: Inbox, name: str, every_s: float) -> list[datetime]:
    """Ticks between the entry's first and last that were not sent."""
    sent = [due for _, due in inbox.ticks(name)]
    return sorted(set(cadence.due_between(name, every_s, sent[0], sent[-1])) - set(sent))


@pytest.fixture(autouse=True)
def schema() -> None:
    migrate()


def test_every_tick_fires_exactly_once(broker: str) -> None:
    del broker
    inbox = Inbox()
    with beat(FAST):
        wait_until(lambda: len(inbox.ticks("part0")) >= 5, "five ticks of one entry", START_S)

    assert inbox.doubled() == []
    for n in range(4):
        assert missed(inbox, f"part{n}", 1) == []
    late = [
        from_iso(row.headers["expires"]) - timedelta(seconds=20) - row.due_at
        for row in inbox.sent()
    ]
    assert max(late) < timedelta(seconds=1)


def test_a_second_beat_fires_nothing_and_takes_over_when_the_first_is_killed(broker: str) -> None:
    del broker
    inbox = Inbox()
    with beat(FAST) as first:
        wait_until(lambda: len(inbox.ticks("part0")) >= 2, "the first beat fires", START_S)
        with beat(FAST) as second:
            wait_until(lambda: psutil.Process(second.pid).num_threads() > 1, "it stands by")
            seen = len(inbox.ticks("part0"))
            wait_until(lambda: len(inbox.ticks("part0")) >= seen + 3, "three more ticks", START_S)
            assert pid_of(active()) == first.pid
            assert inbox.doubled() == []

            first.send_signal(signal.SIGKILL)
            killed = utcnow()
            # When it stands in its queue, and not when it was due.
            wait_until(lambda: [due for _, due in inbox.ticks() if due > killed], "the next tick")
            arrived = utcnow()
            assert pid_of(active()) == second.pid
            wait_until(
                lambda: [due for _, due in inbox.ticks() if due > killed + timedelta(seconds=2)],
                "ticks of after the kill",
            )

    assert arrived - killed <= 2 * SHORTEST
    assert inbox.doubled() == []
    after = [due for _, due in inbox.ticks("part0") if due > killed]
    assert after[0] - killed <= timedelta(seconds=2)
    assert missed(inbox, "part0", 1) == []


@pytest.mark.slow
def test_a_beat_that_was_stopped_and_goes_on_fires_nothing_twice(
    embedded_broker: EmbeddedServer,
) -> None:
    del embedded_broker
    inbox = Inbox()
    with beat(FAST) as first:
        wait_until(inbox.ticks, "the first beat fires", START_S)
        with beat(FAST) as second:
            first.send_signal(signal.SIGSTOP)
            wait_until(lambda: pid_of(active()) == second.pid, "the lock runs out", START_S)
            first.send_signal(signal.SIGCONT)
            seen = len(inbox.ticks("part0"))
            wait_until(lambda: len(inbox.ticks("part0")) >= seen + 4, "four more ticks", START_S)
            assert pid_of(active()) == second.pid

    assert inbox.doubled() == []


def test_a_beat_that_ends_gives_the_lock_back(embedded_broker: EmbeddedServer) -> None:
    del embedded_broker
    inbox = Inbox()
    with beat(FAST) as process:
        wait_until(inbox.ticks, "it fires", START_S)
        process.terminate()
        assert process.wait(15) == 0

    assert active() == ""
    with reading() as session:
        until = store.lock_of(session).sent_until
    assert until is not None
    assert until >= max(due for _, due in inbox.ticks())


def test_a_changed_interval_holds_without_a_restart(embedded_broker: EmbeddedServer) -> None:
    del embedded_broker
    inbox = Inbox()
    with beat(table({"name": "slow", "every_s": 3600})):
        wait_until(active, "the beat is active", START_S)
        with transaction() as session:
            changed = store.set_interval(session, "slow", 1).since
        wait_until(lambda: len(inbox.ticks("slow")) >= 3, "three ticks of the new interval")

    dues = [due for _, due in inbox.ticks("slow") if due >= changed]
    assert {later - earlier for earlier, later in pairwise(dues)} == {timedelta(seconds=1)}
    assert {row.interval_s for row in inbox.sent() if row.due_at >= changed} == {1.0}


@pytest.mark.slow
def test_while_the_broker_is_away_the_newest_tick_is_kept_and_no_burst_follows(
    state_dir: Path,
) -> None:
    del state_dir
    inbox = Inbox()
    rows = table({"name": "kept", "every_s": 1}, {"name": "given_up", "every_s": 1,
                                                 "catch_up": False})  # fmt: skip
    server = EmbeddedServer(settings())
    server.start()
    with beat(rows):
        wait_until(lambda: len(inbox.ticks("kept")) >= 2, "it fires", START_S)
        server.stop()
        away = utcnow()
        wait_until(lambda: utcnow() > away + timedelta(seconds=4), "four ticks fall due")
        returning = utcnow()
        with EmbeddedServer(settings()):
            back = utcnow()
            again = back + timedelta(seconds=3)
            wait_until(
                lambda: (
                    {name for name, due in inbox.ticks() if due > again} == {"kept", "given_up"}
                ),
                "both fire again",
            )
            kept = [due for _, due in inbox.ticks("kept")]
            given_up = [due for _, due in inbox.ticks("given_up")]
            assert inbox.doubled() == []

    second = timedelta(seconds=1)
    # What fell due while the broker was away came as one late tick, or not at all.
    assert len([due for due in kept if away + second < due < returning - second]) <= 1
    assert [due for due in given_up if away + second < due < returning - second] == []
    # From the broker's return on, nothing is missing.
    for dues in (kept, given_up):
        after = [due for due in dues if due > back + second]
        assert {later - earlier for earlier, later in pairwise(after)} == {second}


@pytest.mark.slow
def test_a_broker_that_froze_in_the_middle_gets_no_tick_twice(
    embedded_broker: EmbeddedServer,
) -> None:
    inbox = Inbox()
    assert embedded_broker._process is not None
    pid = embedded_broker._process.pid
    with beat(FAST):
        wait_until(lambda: len(inbox.ticks("part0")) >= 2, "it fires", START_S)
        os.kill(pid, signal.SIGSTOP)
        frozen = utcnow()
        # Longer than the beat waits for an answer, so that it cannot know what arrived.
        wait_until(lambda: utcnow() > frozen + timedelta(seconds=7), "seven seconds pass")
        os.kill(pid, signal.SIGCONT)
        wait_until(
            lambda: [due for _, due in inbox.ticks() if due > frozen + timedelta(seconds=10)],
            "it fires again",
        )

    assert inbox.doubled() == []


@pytest.mark.slow
def test_a_row_written_wrongly_stops_no_other_entry(embedded_broker: EmbeddedServer) -> None:
    del embedded_broker
    inbox = Inbox()
    with beat(FAST):
        wait_until(inbox.ticks, "it fires", START_S)
        with transaction() as session:
            row = next(row for row in store.timetable(session) if row.name == "part0")
            row.interval_s = -1
        changed = utcnow()
        wait_until(
            lambda: [
                due for _, due in inbox.ticks("part1") if due > changed + timedelta(seconds=4)
            ],
            "the others fire on",
        )

    assert [due for _, due in inbox.ticks("part0") if due > changed + timedelta(seconds=3)] == []


@pytest.mark.slow
def test_a_beat_with_a_new_database_gets_past_the_mark_of_the_old_one(
    embedded_broker: EmbeddedServer,
) -> None:
    del embedded_broker
    client = Redis(unix_socket_path=os.fspath(settings().redis_socket))
    client.hset(MARK, mapping={"token": 10**15, "batch": 1, "until": 1})
    inbox = Inbox()
    with beat(FAST):
        wait_until(inbox.ticks, "it fires", 60)


@pytest.mark.slow
def test_a_beat_that_starts_late_sends_one_late_tick_an_entry(
    embedded_broker: EmbeddedServer,
) -> None:
    del embedded_broker
    rows = table({"name": "daily", "every_s": 86_400}, {"name": "often", "every_s": 2})
    inbox = Inbox()
    with beat(rows):
        wait_until(lambda: inbox.ticks("often"), "it fires", START_S)
    long_ago = utcnow() - timedelta(days=3)
    with transaction() as session:
        store.lock_of(session).sent_until = long_ago
        for row in store.timetable(session):
            row.since = long_ago
    _forget_mark()
    before = utcnow()
    inbox = Inbox()
    with beat(rows):
        wait_until(lambda: len(inbox.ticks("often")) >= 2, "it fires again", START_S)

    assert [due for _, due in inbox.ticks("daily")] == [cadence.newest_due("daily", 86_400, before)]
    assert len([due for _, due in inbox.ticks("often") if due < before]) <= 1


def test_a_worker_reads_what_the_beat_sends(broker: str, tmp_path: Path) -> None:
    del broker
    seen = tmp_path / "seen"
    settings().secret_key()
    rows = table(
        {"name": "plain", "task": "checks.seen", "every_s": 1},
        {"name": "signed", "task": "trade.seen", "every_s": 1},
    )
    with worker(["checks", "trade"], seen), beat(rows):
        wait_until(
            lambda: {row["kwargs"]["entry"] for row in rows_of(seen)} == {"plain", "signed"},
            "both tasks ran",
            60,
        )

    plain = next(row for row in rows_of(seen) if row["kwargs"]["entry"] == "plain")
    assert plain["kwargs"]["interval_s"] == 1
    assert from_iso(plain["expires"]) > from_iso(plain["kwargs"]["due_at"])


def _forget_mark() -> None:
    assert Redis(unix_socket_path=os.fspath(settings().redis_socket)).delete(MARK) == 1
