"""What a killed process cannot report: each loss is one incident that names its task."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping

import pytest
from celery.utils.nodenames import host_format

from homeostat.incidents import spool
from homeostat.settings import settings
from homeostat.supervision import poison
from homeostat.supervision.processes import ProcessControlError
from tests.running_stack import RunningStack, alive
from tests.waiting import wait_until
from workers import control, observer
from workers.observer import LOOP_ENDS, Notice, Observer, read_notice
from workers.witness import GAP_S, Witness

#: An event becomes an incident within this many seconds, as the brief of the observer asks.
NOTICED_S = 5.0
#: A killed worker is back at work after this many seconds on a busy machine.
BACK_S = 60.0


def started(stack: RunningStack, key: str) -> int:
    """Wait until the drill task of that key has begun, and return the pid that runs it."""
    sql = "SELECT pid FROM effect_starts WHERE key = :key ORDER BY id DESC"
    rows = wait_until(lambda: stack.rows(sql, key=key), f"{key} has begun", BACK_S)
    return int(rows[0]["pid"])


def occurrences(stack: RunningStack, kind: str, component: str = "%") -> int:
    return sum(row["occurrences"] for row in stack.incidents(kind, component))


def analysed(stack: RunningStack, incident_id: str) -> dict[str, object]:
    """Wait for the analysis job of the incident and return its row."""
    sql = "SELECT * FROM jobs WHERE task LIKE 'fix_analysis.%' AND CAST(kwargs AS TEXT) LIKE :mark"
    rows = wait_until(
        lambda: stack.rows(sql, mark=f"%{incident_id}%"), "the analysis is asked for", NOTICED_S
    )
    return rows[0]


@pytest.fixture(scope="module")
def quiet_stack(shared_stack: RunningStack) -> Iterator[RunningStack]:
    """The shared stack without its beat, so that the only events are those of the tests."""
    booted = "SELECT state FROM jobs WHERE task = 'boot.all' AND state <> 'done'"
    wait_until(lambda: not shared_stack.rows(booted), "the boot has ended", BACK_S)
    shared_stack.stop("beat")
    yield shared_stack
    # The supervisor may have it up again already, after a test that killed it.
    with contextlib.suppress(ProcessControlError):
        shared_stack.start("beat")
    wait_until(lambda: shared_stack.pid("beat"), "the beat runs again for the other modules")


@pytest.fixture
def workers_ready(stack: RunningStack, quiet_stack: RunningStack) -> RunningStack:
    """The quiet stack, with both workers answering: the test before may have killed them."""
    assert stack is quiet_stack
    wait_until(
        lambda: control.pings([control.MAIN, control.FIX]) == {control.MAIN, control.FIX},
        "both workers answer",
        BACK_S,
    )
    return stack


def noticed(condition: Callable[[], object], description: str) -> float:
    """Wait for the condition; return the seconds it took, which must be within the bound."""
    began = time.monotonic()
    wait_until(condition, description, NOTICED_S)
    return time.monotonic() - began


def test_a_killed_pool_child_is_one_incident_that_names_its_task(
    workers_ready: RunningStack,
) -> None:
    stack = workers_ready
    before = occurrences(stack, "PoolChildLostError", "workers.main")
    stack.send("stress.effect", key="child", work_s=3.0, announce=True)
    os.kill(started(stack, "child"), signal.SIGKILL)
    noticed(
        lambda: occurrences(stack, "PoolChildLostError", "workers.main") == before + 1,
        "the loss is an incident",
    )
    lost = stack.incidents("PoolChildLostError", "workers.main")[-1]
    assert lost["task"] == "stress.effect"
    assert lost["severity"] == "critical"
    assert analysed(stack, lost["id"])["priority"] == 10
    # The task is not lost: it runs again in another child of the same main.
    sql = "SELECT * FROM effects WHERE key = 'child'"
    assert len(wait_until(lambda: stack.rows(sql), "the effect is there", BACK_S)) == 1
    assert occurrences(stack, "PoolChildLostError", "workers.main") == before + 1


def test_a_killed_main_is_one_incident_that_names_the_task_it_ran(
    workers_ready: RunningStack,
) -> None:
    stack = workers_ready
    stack.send("stress.effect", key="main", work_s=30.0, announce=True)
    child = started(stack, "main")
    main = stack.pid("worker")
    before = occurrences(stack, "WorkerLostError", "workers.main")
    os.kill(main, signal.SIGKILL)
    noticed(
        lambda: occurrences(stack, "WorkerLostError", "workers.main") == before + 1,
        "the loss is an incident",
    )
    named = [row for row in stack.incidents("WorkerLostError") if "SIGKILL" in row["message"]]
    assert any(row["task"] == "stress.effect" for row in named)
    wait_until(lambda: not alive(child), "the pool child has not outlived its main", NOTICED_S)
    wait_until(lambda: control.pings([control.MAIN]), "its successor answers", BACK_S)
    assert stack.pid("worker") != main
    assert occurrences(stack, "WorkerLostError", "workers.main") == before + 1


def test_a_killed_beat_is_one_incident(workers_ready: RunningStack) -> None:
    stack = workers_ready
    before = occurrences(stack, "BeatLostError")
    stack.start("beat")
    old = stack.pid("beat")
    os.kill(old, signal.SIGKILL)
    noticed(lambda: occurrences(stack, "BeatLostError") == before + 1, "it is an incident")
    wait_until(lambda: stack.pid("beat") != old, "it runs again", BACK_S)
    stack.stop("beat")
    assert occurrences(stack, "BeatLostError") == before + 1


def test_a_hard_time_limit_is_one_incident(workers_ready: RunningStack) -> None:
    stack = workers_ready
    sql = "SELECT * FROM incidents WHERE task = 'stress.endless'"
    stack.send("stress.endless", key="endless")
    started(stack, "endless")
    (limit,) = wait_until(lambda: stack.rows(sql), "the time limit is an incident", BACK_S)
    assert limit["type"].endswith("TimeLimitExceeded")
    assert limit["occurrences"] == 1
    assert limit["severity"] == "critical"


def test_a_task_that_kills_each_child_is_given_up_as_poison(workers_ready: RunningStack) -> None:
    stack = workers_ready
    stack.send("stress.poison", key="poison")
    (poisonous,) = wait_until(
        lambda: stack.incidents("PoisonTaskError"), "the poison is given up", BACK_S
    )
    assert poisonous["task"] == "stress.poison"
    # Four children: the first run and the three that `max_retries` allows.
    begun = stack.rows("SELECT pid FROM effect_starts WHERE key = 'poison'")
    assert len(begun) == 4
    stack.send("stress.effect", key="after-poison")
    sql = "SELECT * FROM effects WHERE key = 'after-poison'"
    wait_until(lambda: stack.rows(sql), "the worker lives on", BACK_S)


@pytest.mark.slow
def test_a_restart_that_was_asked_for_is_no_incident(workers_ready: RunningStack) -> None:
    stack = workers_ready
    flowers = occurrences(stack, "ProcessLostError", "workers.flower")
    mains = occurrences(stack, "WorkerLostError", "workers.main")
    old = stack.pid("worker")
    stack.stop("worker")
    stack.start("worker")
    wait_until(lambda: control.pings([control.MAIN]), "it answers again", BACK_S)
    assert stack.pid("worker") != old
    # A loss after it proves that the observer would have spoken by now.
    os.kill(stack.pid("flower"), signal.SIGKILL)
    noticed(
        lambda: occurrences(stack, "ProcessLostError", "workers.flower") == flowers + 1,
        "Flower's loss is an incident",
    )
    assert occurrences(stack, "WorkerLostError", "workers.main") == mains


def kill_and_await(stack: RunningStack, name: str) -> None:
    """Kill the process and wait for its successor."""
    old = stack.pid(name)
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: stack.pids().get(name) not in {0, None, old}, f"{name} is back")


def test_a_process_that_keeps_ending_is_a_crash_loop(workers_ready: RunningStack) -> None:
    stack = workers_ready
    before = occurrences(stack, "CrashLoopError", "workers.api")
    for _ in range(LOOP_ENDS):
        kill_and_await(stack, "api")
    noticed(
        lambda: occurrences(stack, "CrashLoopError", "workers.api") == before + 1,
        "the loop is an incident",
    )


# Messages that cannot be read.

HEADERS = {"lang": "py", "task": "stress.effect", "id": "forged", "retries": 0}
ENVELOPE = {
    "body": "W1tdLCB7fSwge31d",
    "content-encoding": "utf-8",
    "content-type": "application/json",
    "headers": HEADERS,
    "properties": {
        "body_encoding": "base64",
        "correlation_id": "forged",
        "delivery_info": {"exchange": "", "routing_key": "upkeep"},
        "delivery_mode": 2,
        "delivery_tag": "forged",
        "priority": 0,
    },
}


def forged(*, headers: Mapping[str, object] | None = None, **changes: object) -> str:
    """The envelope with some of its parts replaced; `headers` are merged."""
    return json.dumps({**ENVELOPE, **changes, "headers": {**HEADERS, **(headers or {})}})


POISONS = {
    "no JSON": "{not json",
    "no object": "[1, 2]",
    "bad base64": forged(body="!!!not base64!!!"),
    "body is no JSON": forged(body="bm90IGpzb24="),
    "wrong body shape": forged(body="eyJhIjogMX0="),
    "bad time limit": forged(headers={"timelimit": ["soon", None]}),
    "half a time limit": forged(headers={"timelimit": [1]}),
    "no task": forged(headers={"task": None}),
    "unknown task": forged(headers={"task": "nobody.knows"}),
    "no properties": json.dumps({**ENVELOPE, "properties": {}}),
    "no delivery info": json.dumps({**ENVELOPE, "properties": {"delivery_tag": "x"}}),
    "expiry is no time": forged(headers={"expires": "whenever"}),
}


def test_malformed_messages_are_set_aside_whole_and_the_worker_lives_on(
    workers_ready: RunningStack,
) -> None:
    stack = workers_ready
    main = stack.pid("worker")
    before = occurrences(stack, "PoisonMessageError")
    with poison.connect(stack.settings) as client:
        for raw in POISONS.values():
            client.lpush("upkeep", raw)

        def missing() -> list[str]:
            kept = [json_or_text(raw) for raw in client.lrange(poison.QUARANTINE, 0, -1)]
            return [what for what, raw in POISONS.items() if json_or_text(raw) not in kept]

        wait_until(lambda: not missing(), "all of them are set aside", BACK_S)
    wait_until(
        lambda: occurrences(stack, "PoisonMessageError") == before + len(POISONS),
        "each is counted on an incident, once",
    )
    stack.send("stress.effect", key="after the poison")
    sql = "SELECT * FROM effects WHERE key = 'after the poison'"
    wait_until(lambda: stack.rows(sql), "the worker lives on", BACK_S)
    assert stack.pid("worker") == main


def json_or_text(raw: object) -> object:
    text = raw.decode() if isinstance(raw, bytes) else str(raw)
    try:
        return json.loads(text)
    except ValueError:
        return text


# The observer's own rules, on notices as the supervisor writes them.


def line(kind: str, body: str, serial: int = 1) -> str:
    header = f"ver:3.0 server:homeostat serial:{serial} pool:observer poolserial:1"
    return f"{header} eventname:PROCESS_STATE_{kind} len:{len(body)}\n{body}"


def test_a_notice_is_read_as_the_supervisor_writes_it() -> None:
    body = "processname:worker groupname:workers from_state:RUNNING expected:0 pid:7"
    stream = io.StringIO(line("EXITED", body, 9) + line("FATAL", "processname:beat groupname:beat"))
    assert read_notice(stream) == Notice("EXITED", "worker", expected=False, tries=0, serial="9")
    second = read_notice(stream)
    assert second is not None
    assert (second.kind, second.process) == ("FATAL", "beat")
    assert read_notice(stream) is None


class Reports:
    """Keeps what was reported; refuses the first `away` reports, as a store that is away does."""

    def __init__(self, away: int = 0) -> None:
        self.kept: list[tuple[str, str, str]] = []
        self.away = away

    def __call__(self, failure: object, *, sighting: str) -> bool:
        if self.away:
            self.away -= 1
            return False
        kind = getattr(failure, "type", "")
        self.kept.append((kind, getattr(failure, "component", ""), sighting))
        return True


def exited(process: str, serial: int, *, expected: bool = False) -> Notice:
    return Notice("EXITED", process, expected=expected, tries=0, serial=str(serial))


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> Reports:
    monkeypatch.setattr(observer, "IN_FLIGHT_S", 0.0)
    return Reports()


def test_three_ends_within_a_minute_are_a_crash_loop_reported_once(reports: Reports) -> None:
    watching = Observer(settings(), reports)
    for serial in range(5):
        watching.take_in(exited("worker", serial))
    kinds = [kind for kind, _, _ in reports.kept]
    assert kinds.count("WorkerLostError") == 5
    assert kinds.count("CrashLoopError") == 1
    assert kinds.index("CrashLoopError") == 3
    assert len({sighting for _, _, sighting in reports.kept}) == 6


def test_a_polite_end_and_a_stranger_are_no_incident(reports: Reports) -> None:
    watching = Observer(settings(), reports)
    watching.take_in(exited("worker", 1, expected=True))
    watching.take_in(exited("somebody", 2))
    assert reports.kept == []


def test_a_notice_is_kept_until_the_store_takes_it() -> None:
    reports = Reports(away=1)
    watching = Observer(settings(), reports)
    watching.take_in(exited("beat", 1))
    assert [kind for kind, _, _ in reports.kept] == ["BeatLostError"]


def test_the_same_notice_told_twice_has_the_same_sighting(reports: Reports) -> None:
    for _ in range(2):
        Observer(settings(), reports).take_in(exited("flower", 4))
    first, second = reports.kept
    assert first == second


def test_what_the_supervisor_gave_up_is_an_incident_and_is_started_again(reports: Reports) -> None:
    watching = Observer(settings(), reports)
    watching.take_in(Notice("FATAL", "api", expected=False, tries=0, serial="1"))
    assert [(kind, component) for kind, component, _ in reports.kept] == [
        ("CrashLoopError", "workers.api")
    ]
    assert "api" in watching._start_again


def event(kind: str, node: str = "main@here", uuid: str = "1", **more: object) -> dict[str, object]:
    return {"type": kind, "hostname": node, "uuid": uuid, **more}


def test_the_witness_names_what_ran_on_the_lost_node_and_nothing_else() -> None:
    witness = Witness()
    witness.take_in(event("task-received", uuid="1", name="a"))
    witness.take_in(event("task-started", uuid="1"))
    witness.take_in(event("task-received", uuid="2", name="b"))
    witness.take_in(event("task-started", uuid="2"))
    witness.take_in(event("task-succeeded", uuid="2"))
    witness.take_in(event("task-received", uuid="3", name="c"))
    witness.take_in(event("task-started", "fix@here", uuid="4"))
    assert witness.lost("main@here") == ["a"]
    assert witness.lost("main@here") == []
    assert witness.lost("fix@here") == ["a task that is not known"]


def test_a_silence_is_told_once_and_a_goodbye_is_no_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("workers.witness.time.monotonic", lambda: now[0])
    witness = Witness()
    witness.take_in(event("worker-heartbeat"))
    witness.take_in(event("worker-heartbeat", "fix@here"))
    witness.take_in(event("worker-offline", "fix@here"))
    now[0] += GAP_S
    assert witness.new_gaps() == {}
    now[0] += 1
    assert list(witness.new_gaps()) == ["main@here"]
    assert witness.new_gaps() == {}
    witness.take_in(event("worker-heartbeat"))
    now[0] += GAP_S + 1
    assert list(witness.new_gaps()) == ["main@here"]


def test_a_silence_that_the_store_could_not_take_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Observer(settings(), Reports(away=1))
    now = [time.monotonic()]
    monkeypatch.setattr("workers.witness.time.monotonic", lambda: now[0])
    watching.witness.take_in(event("worker-heartbeat", host_format(f"{control.MAIN}@%h")))
    now[0] += GAP_S + 1
    watching.tick()
    watching.tick()
    (line,) = spool.path().read_text().splitlines()
    kept = json.loads(line)
    assert (kept["type"], kept["component"]) == ("HeartbeatGapError", "workers.main")
    assert ":gap:" in kept["id"]


def test_the_observers_own_blindness_is_nobodys_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("workers.witness.time.monotonic", lambda: now[0])
    witness = Witness()
    witness.take_in(event("worker-heartbeat"))
    now[0] += 10 * GAP_S
    witness.forget_times()
    assert witness.new_gaps() == {}


@pytest.mark.slow
def test_a_worker_that_hangs_is_an_incident_and_is_restarted(workers_ready: RunningStack) -> None:
    stack = workers_ready
    before = occurrences(stack, "HeartbeatGapError")
    main = stack.pid("worker")
    os.kill(main, signal.SIGSTOP)
    wait_until(
        lambda: occurrences(stack, "HeartbeatGapError") == before + 1,
        "the silence is an incident",
        GAP_S + NOTICED_S,
    )
    wait_until(lambda: stack.pid("worker") != main, "the remedy restarts it", BACK_S)
    wait_until(lambda: control.pings([control.MAIN]), "it answers", BACK_S)
