"""The embedded stack: up, supervised, down, and what it says when it cannot."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.store import approvals, jobs
from homeostat.store.database import transaction
from homeostat.supervision import poison
from tests.conftest import forget_settings
from tests.running_stack import RunningStack, alive, environment, homeostat
from tests.waiting import wait_until
from workers import control, leftovers, queues, readiness
from workers.dispatch import CeleryDispatcher, send_jobs
from workers.processes import processes

#: All processes of the stack, as a person sees them.
NAMES = {"redis", "observer", "flower", "api", "beat", "fix_worker", "worker"}
#: From the end of a process to its successor at work; an import of everything is 3 s on a busy CPU.
RESTART_S = 60.0


def ready(stack: RunningStack) -> set[str]:
    """The processes that do their work now."""
    settings = stack.settings.model_copy(
        update={
            "flower_port": int(stack.state["flower_url"].rsplit(":", 1)[1]),
            "api_port": int(stack.state["api_url"].rsplit(":", 1)[1]),
        }
    )
    return {name for name, check in readiness.checks(settings).items() if check()}


def test_everything_is_ready_when_up_returns(stack: RunningStack) -> None:
    assert set(stack.pids()) == NAMES
    assert ready(stack) == NAMES
    assert stack.state["phase"] == "ready"
    assert set(stack.state["processes"]) == NAMES


def test_up_boots_every_component_once_so_that_none_waits_for_its_first_tick(
    stack: RunningStack,
) -> None:
    asked = "SELECT state FROM jobs WHERE task = 'boot.all'"
    wait_until(lambda: stack.rows(asked) == [{"state": "done"}], "the boot has ended", 120)
    booted = stack.rows("SELECT component, evidence FROM leases WHERE component LIKE 'kernels.%'")
    assert len(booted) == 20
    assert all(row["evidence"] for row in booted)


def test_a_boot_that_its_worker_took_with_it_is_done_by_the_next_long_before_its_limit(
    stack: RunningStack,
) -> None:
    with transaction() as session:
        asked = jobs.enqueue(session, "boot.all", {}, queue=queues.UPKEEP, priority=9)
    send_jobs(CeleryDispatcher(control.client_app()), [str(asked)])

    def row() -> dict[str, Any]:
        return stack.rows("SELECT state, started_at FROM jobs WHERE id = :id", id=asked)[0]

    begun = wait_until(lambda: row()["started_at"], "the boot has begun", RESTART_S)
    os.kill(stack.pid("worker"), signal.SIGKILL)
    assert row()["state"] == "sent", "it was killed in the middle"
    wait_until(lambda: row()["state"] == "done", "the next worker has booted all", RESTART_S)
    assert row()["started_at"] > begun


def test_a_dead_process_is_not_ready(stack: RunningStack) -> None:
    os.kill(stack.pid("flower"), signal.SIGKILL)
    wait_until(lambda: "flower" not in ready(stack), "Flower's death is seen", 5)
    wait_until(lambda: "flower" in ready(stack), "Flower is back", RESTART_S)


def test_status_tells_processes_queues_and_components(stack: RunningStack) -> None:
    seen = json.loads(stack.run("status", "-o", "json").stdout)
    assert seen["stack"]["running"]
    assert {process["name"] for process in seen["stack"]["processes"]} == NAMES
    assert set(seen["queues"]) == set(queues.ALL_QUEUES)
    assert seen["components"]
    assert all(row["reason"] for row in seen["components"] if row["state"] != "RUNNING")


def test_a_check_runs_through_a_worker_where_a_stack_runs(stack: RunningStack) -> None:
    done = stack.run("check", "run", "kernels.message_bus", "-o", "json")
    seen = json.loads(done.stdout)
    assert done.returncode == 0
    assert seen["ran"] == "worker"
    assert seen["passed"]
    pid = int(seen["worker"].rsplit(":", 1)[1])
    assert pid in {child.pid for child in stack.children("worker")}


def test_what_a_kernel_did_is_told_on_the_bus_by_a_worker(stack: RunningStack) -> None:
    assert stack.run("check", "run", "kernels.librarian", "-o", "json").returncode == 0
    told = "SELECT kwargs, state FROM jobs WHERE task = 'upkeep.publish'"

    def published() -> bool:
        rows = stack.rows(told)
        return any("library.changed" in str(row["kwargs"]) for row in rows) and all(
            row["state"] == "done" for row in rows
        )

    wait_until(published, "the event is on the bus", 60)
    bus: Any = registry.find("kernels.message_bus")
    topics = {event.topic for event in bus.happened(utcnow() - timedelta(minutes=10))}
    assert "library.changed" in topics


def test_a_task_can_be_called_by_name(stack: RunningStack) -> None:
    kwargs = '{"key": "called-by-name"}'
    done = stack.run("task", "call", "stress.effect", "--kwargs", kwargs)
    assert done.returncode == 0, done.stderr
    sql = "SELECT * FROM effects WHERE key = 'called-by-name'"
    assert len(wait_until(lambda: stack.rows(sql), "the task has run")) == 1


def test_what_is_decided_by_api_reaches_a_worker_at_once(stack: RunningStack) -> None:
    with transaction() as session:
        approval = approvals.request(
            session, action="probe.talk", subject="nothing", risk="low",
            requested_by="tests", plan="nothing", valid_for=timedelta(minutes=5),
        )  # fmt: skip
    token = (stack.state_dir / "api.token").read_text()
    answer = httpx.post(
        f"{stack.state['api_url']}/api/v1/approvals/{approval.id}",
        json={"decision": "approve"},
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    key = f"fix_analysis.decided:{approval.id}"

    def job() -> dict[str, Any]:
        return stack.rows("SELECT sends, state FROM jobs WHERE natural_key = :key", key=key)[0]

    assert job()["sends"] == 1, "the API itself has sent it"
    wait_until(lambda: job()["state"] == "done", "a worker has looked at it", 60)


def test_celery_call_reaches_a_worker_too(stack: RunningStack) -> None:
    words = ("-A", "workers.app", "call", "stress.effect", "--kwargs", '{"key": "celery-call"}')
    command = [sys.executable, "-m", "celery", *words]
    subprocess.run(command, env=stack.env, check=True, capture_output=True, timeout=60)
    sql = "SELECT * FROM effects WHERE key = 'celery-call'"
    wait_until(lambda: stack.rows(sql), "the task has run")


def test_flower_refuses_without_its_password_and_the_password_is_nobody_elses(
    stack: RunningStack,
) -> None:
    file = Path(stack.state["flower_auth"])
    user, password = file.read_text().strip().split(":")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    url = stack.state["flower_url"]
    assert httpx.get(f"{url}/api/workers").status_code == 401
    assert httpx.get(f"{url}/api/workers", auth=(user, "guess")).status_code == 401
    assert httpx.get(f"{url}/workers", auth=(user, password)).status_code == 200
    everything = [
        " ".join([*process.cmdline(), *process.environ().values()])
        for process in leftovers.of(stack.settings)
    ]
    assert everything
    assert not any(password in text for text in everything)


def test_flower_and_the_api_listen_on_loopback_only(stack: RunningStack) -> None:
    for name in ("flower", "api"):
        connections = psutil.Process(stack.pid(name)).net_connections("inet")
        listening = {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}, name


def test_a_second_up_is_refused_and_harms_nothing(stack: RunningStack) -> None:
    before = stack.pids()
    for words in (("up",), ("up", "--detach")):
        done = stack.run(*words)
        assert_one_sentence(done, 75, "already runs")
    assert stack.pids() == before
    assert ready(stack) == NAMES


def test_what_dies_is_started_again(stack: RunningStack) -> None:
    before = stack.pids()
    for name in sorted(NAMES - {"redis"}):
        os.kill(before[name], signal.SIGKILL)
    wait_until(lambda: ready(stack) == NAMES, "everything is back", RESTART_S)
    after = stack.pids()
    assert all(after[name] != before[name] for name in NAMES - {"redis"})


def test_redis_comes_back_with_its_messages_and_the_workers_go_on(stack: RunningStack) -> None:
    with poison.connect(stack.settings) as client:
        client.set("homeostat:test:kept", "yes")
    before = stack.pid("redis")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: stack.pid("redis") != before, "Redis runs under a new pid")
    wait_until(lambda: ready(stack) == NAMES, "everything is at work again", RESTART_S)

    def kept() -> object:
        with contextlib.suppress(redis.RedisError), poison.connect(stack.settings) as client:
            return client.get("homeostat:test:kept")
        return None

    assert wait_until(kept, "Redis answers again", RESTART_S) == b"yes"
    stack.send("stress.effect", key="after-redis")
    sql = "SELECT * FROM effects WHERE key = 'after-redis'"
    wait_until(lambda: stack.rows(sql), "a worker works again", RESTART_S)


@pytest.mark.slow
def test_a_stack_ends_without_a_trace_however_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = RunningStack(tmp_path / "own")
    monkeypatch.setenv("HOMEOSTAT_STATE_DIR", str(stack.state_dir))
    forget_settings()

    command = [sys.executable, "-m", "homeostat.cli", "up"]
    with subprocess.Popen(command, env=stack.env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("The stack is ready")
        # The worker is stopped, so that the message is still there when the stack ends.
        stack.stop("worker")
        stack.send("stress.effect", key="before-the-end")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert leftovers.of(stack.settings) == []
    assert not (stack.state_dir / "stack.json").exists()
    assert not stack.settings.redis_socket.exists()

    stack.up()
    sql = "SELECT * FROM effects WHERE key = 'before-the-end'"
    assert len(wait_until(lambda: stack.rows(sql), "the task was not lost")) == 1
    assert stack.incidents("LostError") == [], "a stop that was asked for is no incident"

    keeper = stack.state["pid"]
    supervisor = next(
        child.pid
        for child in psutil.Process(keeper).children()
        if "supervisor.supervisord" in child.cmdline()
    )
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: not leftovers.of(stack.settings), "all have ended with the supervisor")
    wait_until(lambda: not alive(keeper), "the keeper has ended")
    assert "supervisor ended" in stack.log("stack")

    stack.up()
    assert len(stack.incidents("StackLostError")) == 1
    os.kill(stack.state["pid"], signal.SIGKILL)
    wait_until(lambda: not leftovers.of(stack.settings), "all have ended with the keeper")


# What cannot work: one sentence with what to do, an exit code, no traceback.


def assert_one_sentence(done: subprocess.CompletedProcess[str], code: int, *says: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for part in says:
        assert part in done.stderr


@pytest.mark.parametrize("words", [("up",), ("up", "--detach")])
def test_a_taken_port_is_named(tmp_path: Path, words: tuple[str, ...]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        env = environment(tmp_path / "var", HOMEOSTAT_FLOWER_PORT=str(port))
        done = homeostat(*words, env=env)
    assert_one_sentence(done, 71, str(port), "HOMEOSTAT_FLOWER_PORT")
    assert leftovers.of(RunningStack(tmp_path / "var").settings) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("HOMEOSTAT_BROKER_URL", "amqp://guest:guest@127.0.0.1:9/nowhere"),
        ("HOMEOSTAT_BROKER_URL", "redis://127.0.0.1:9/0"),
        ("HOMEOSTAT_DATABASE_URL", "postgresql://postgres@127.0.0.1:9/nowhere"),
        ("HOMEOSTAT_REDIS_URL", "redis://127.0.0.1:9/0"),
    ],
)
def test_a_server_that_does_not_answer_is_named(tmp_path: Path, variable: str, url: str) -> None:
    env = environment(tmp_path / "var", **{variable: url})
    done = homeostat("up", env=env)
    assert_one_sentence(done, 69, "does not answer", "127.0.0.1:9", variable)
    assert leftovers.of(RunningStack(tmp_path / "var").settings) == []


@pytest.mark.parametrize(
    "words", [("up",), ("up", "--detach"), ("status",), ("check", "run", "kernels.message_bus")]
)
def test_a_state_folder_that_cannot_be_written_is_named(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    # A path under a file cannot be made by anyone, not even by root.
    (tmp_path / "file").write_text("")
    env = environment(tmp_path / "file" / "var")
    assert_one_sentence(homeostat(*words, env=env), 73, str(tmp_path / "file"))


def test_a_read_only_state_folder_is_named() -> None:
    # /proc/sys is read-only in that no file can be made in it, whoever asks.
    env = environment(Path("/proc/sys/homeostat"))
    assert_one_sentence(homeostat("up", env=env), 73, "/proc/sys/homeostat")


@pytest.mark.parametrize("words", [("up",), ("status",)])
@pytest.mark.parametrize(
    ("variable", "value"), [("HOMEOSTAT_STAET_DIR", "x"), ("HOMEOSTAT_WORKER_CONCURRENCY", "many")]
)
def test_malformed_settings_are_refused(
    tmp_path: Path, words: tuple[str, ...], variable: str, value: str
) -> None:
    env = environment(tmp_path / "var", **{variable: value})
    assert_one_sentence(homeostat(*words, env=env), 78, variable)
    assert not (tmp_path / "var").exists()


def test_an_unknown_component_or_task_is_named(tmp_path: Path) -> None:
    env = environment(tmp_path / "var")
    done = homeostat("check", "run", "kernels.nonsense", env=env)
    assert_one_sentence(done, 64, "kernels.nonsense", "homeostat component list")
    done = homeostat("task", "call", "nonsense", env=env)
    assert_one_sentence(done, 64, "nonsense", "homeostat task list")
    done = homeostat("task", "call", "stress.effect", "--kwargs", "[1]", env=env)
    assert_one_sentence(done, 65, "--kwargs")


def test_a_check_without_a_stack_runs_here_and_says_so(tmp_path: Path) -> None:
    env = environment(tmp_path / "var")
    done = homeostat("check", "run", "kernels.message_bus", "-o", "json", env=env)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["ran"] == "here"
    assert seen["passed"]


def test_status_without_a_stack_is_loud_about_what_is_not_known(tmp_path: Path) -> None:
    done = homeostat("status", "-o", "json", env=environment(tmp_path / "var"))
    seen = json.loads(done.stdout)
    assert not seen["stack"]["running"]
    assert seen["queues"] == "UNKNOWN"
    assert {row["state"] for row in seen["components"]} == {"UNKNOWN"}
    assert seen["counts"]["RUNNING"] == 0


def test_every_queue_but_the_models_is_consumed_by_exactly_one_worker(
    tmp_path: Path,
) -> None:
    table = processes(RunningStack(tmp_path / "var").settings)
    consumed = [
        queue
        for process in table
        if "--queues" in process.arguments
        for queue in process.arguments[process.arguments.index("--queues") + 1].split(",")
    ]
    assert sorted(consumed) == sorted(queues.ALL_QUEUES)
