"""A secret on a running stack: in clear nowhere but in the memory of who may read it."""

from __future__ import annotations

import contextlib
import json
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from homeostat import registry
from homeostat.store import database
from tests.running_stack import RunningStack

pytestmark = pytest.mark.slow


@pytest.fixture
def value(stack: RunningStack) -> str:
    """A secret in the stack's store, which a worker of it has opened and acted on."""
    made = f"made-up-{secrets.token_hex(12)}"
    manager: Any = registry.find("kernels.secret_manager")
    with database.transaction() as session:
        manager.store(session, "on-a-stack", made, actor="test")
        assert manager.retrieve(session, "on-a-stack", actor="test") == made
    done = stack.run("check", "run", "kernels.secret_manager", "-o", "json")
    seen = json.loads(done.stdout)
    assert (seen["ran"], seen["passed"]) == ("worker", True), done.stdout
    return made


def processes(stack: RunningStack) -> Iterator[psutil.Process]:
    for pid in stack.pids().values():
        main = psutil.Process(pid)
        yield main
        yield from main.children(recursive=True)


def test_no_process_shows_it_in_its_command_line_or_environment(
    stack: RunningStack, value: str
) -> None:
    looked_at = 0
    for process in processes(stack):
        with contextlib.suppress(psutil.NoSuchProcess):
            shown = " ".join([*process.cmdline(), *process.environ().values()])
            assert value not in shown, process.name()
            looked_at += 1
    assert looked_at >= len(stack.pids())


def test_no_file_of_the_state_folder_holds_it(stack: RunningStack, value: str) -> None:
    looked_at = 0
    for path in stack.state_dir.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and not path.is_socket():
                assert value.encode() not in path.read_bytes(), path
                looked_at += 1
    names = {path.name for path in stack.state_dir.rglob("*")}
    assert {"homeostat.sqlite3", "worker.log"} <= names
    assert looked_at > 5


def test_flower_shows_it_nowhere(stack: RunningStack, value: str) -> None:
    user, password = Path(stack.state["flower_auth"]).read_text().strip().split(":")
    with httpx.Client(base_url=stack.state["flower_url"], auth=(user, password)) as client:
        for path in ("/api/tasks?limit=10000", "/api/workers?refresh=0", "/tasks", "/workers"):
            page = client.get(path)
            assert page.status_code == 200, path
            assert value not in page.text, path
        tasks = client.get("/api/tasks?limit=10000").json()
    assert "checks.kernels.secret_manager" in {task["name"] for task in tasks.values()}


def test_the_api_and_the_bundles_show_it_nowhere(stack: RunningStack, value: str) -> None:
    for words in (("incident", "list", "-o", "json"), ("log", "search", "-o", "json")):
        assert value not in stack.run(*words).stdout
    for table in ("incident_bundles", "audit_log", "jobs", "check_runs", "secrets"):
        assert value not in json.dumps(stack.rows(f"SELECT * FROM {table}"), default=str), table  # noqa: S608  # names above


def test_what_holds_keys_is_the_owner_s_alone(stack: RunningStack, value: str) -> None:
    del value
    assert stat.S_IMODE(stack.state_dir.stat().st_mode) == 0o700
    for name in ("secrets.keys", "secret.key"):
        assert stat.S_IMODE((stack.state_dir / name).stat().st_mode) == 0o600
