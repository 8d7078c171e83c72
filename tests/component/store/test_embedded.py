from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from homeostat.errors import StateFolderError
from homeostat.settings import settings
from homeostat.store import embedded, redis
from homeostat.store.embedded import EmbeddedServer
from tests.waiting import wait_until


def test_what_was_written_is_there_after_a_kill_and_a_restart() -> None:
    with EmbeddedServer(settings()) as server:
        redis.client().set("kept", "yes")
        redis.client().waitaof(1, 0, 2000)
        assert server._process
        server._process.kill()
        server._process.wait()
        assert not redis.answers()
        server._process = None
        server.start()
        assert redis.client().get("kept") == "yes"


def test_it_listens_on_the_socket_only_and_nobody_else_may_enter() -> None:
    with EmbeddedServer(settings()) as server:
        assert server._process
        child = psutil.Process(server._process.pid)
        assert [c for c in child.net_connections("inet") if c.status == "LISTEN"] == []
        for path in (settings().redis_socket.parent, settings().state_dir / "redis"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE(settings().redis_socket.stat().st_mode) == 0o700


def test_a_second_start_uses_the_first_ones_server_and_leaves_it_running() -> None:
    with EmbeddedServer(settings()) as first:
        second = EmbeddedServer(settings())
        assert second.start() is False
        second.stop()
        assert first.started
        assert embedded.ready(settings())
    assert not embedded.ready(settings())


def test_a_supervised_second_server_is_refused_with_one_sentence() -> None:
    with EmbeddedServer(settings()):
        refused = subprocess.run(
            embedded.command(settings()), capture_output=True, text=True, timeout=60, check=False
        )
        assert refused.returncode == 1
        assert refused.stderr.count("\n") == 1
        assert "already runs" in refused.stderr
        assert embedded.ready(settings())


def test_the_supervised_command_becomes_the_server_under_the_same_pid() -> None:
    process = subprocess.Popen(embedded.command(settings()), stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: embedded.ready(settings()), "the server answers")
        assert redis.client().info("server")["process_id"] == process.pid
    finally:
        process.terminate()
        process.wait(20)


def test_the_server_dies_with_a_parent_that_was_killed() -> None:
    program = (
        "from homeostat.settings import settings\n"
        "from homeostat.store.embedded import EmbeddedServer\n"
        "server = EmbeddedServer(settings()); server.start()\n"
        "print(server._process.pid, flush=True); input()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not psutil.pid_exists(pid), "the orphaned server is gone")


def test_a_long_state_path_gets_a_short_socket_in_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEOSTAT_STATE_DIR", str(tmp_path / ("x" * 120)))
    settings.cache_clear()
    folder = settings().redis_socket.parent
    with EmbeddedServer(settings()):
        assert redis.client().ping()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    with pytest.raises(StateFolderError, match="does not belong to this user alone"):
        EmbeddedServer(settings()).start()
    folder.rmdir()
