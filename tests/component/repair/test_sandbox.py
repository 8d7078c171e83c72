"""Hostile programs in the sandbox: each tries to do harm and is seen to fail."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from homeostat.repair.sandbox import Isolation, Limits, Run, Sandbox, detect_isolation
from homeostat.repair.sandbox.interpreter import inspect_interpreter
from homeostat.repair.sandbox.limits import MEGABYTE

pytestmark = pytest.mark.skipif(
    detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
)

LIMITS = Limits(
    wall_s=10,
    cpu_s=8,
    memory_bytes=512 * MEGABYTE,
    processes=24,
    file_bytes=16 * MEGABYTE,
    disk_bytes=64 * MEGABYTE,
)


class Waiting(Sandbox):
    """The same sandbox, started before the program is there."""

    def run(
        self,
        command: Sequence[str],
        *,
        changes: Mapping[str, str | None] | None = None,
        env: Mapping[str, str] | None = None,
        wall_s: float | None = None,
        readable: Sequence[Path] = (),
    ) -> Run:
        assert not readable
        ready = self.ready({})
        assert ready is not None
        return self.run_ready(ready, command, changes or {}, env or {}, wall_s)


@pytest.fixture(params=[Sandbox, Waiting], ids=["new", "waiting"])
def sandbox(tmp_path: Path, request: pytest.FixtureRequest) -> Sandbox:
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "module.py").write_text("VALUE = 1\n")
    made: Sandbox = request.param(
        repository, repository, inspect_interpreter(Path(sys.executable)), LIMITS
    )
    return made


def run(sandbox: Sandbox, code: str, **options: object) -> Run:
    wall_s = options.get("wall_s")
    return sandbox.run(
        [str(sandbox.interpreter.executable), "-c", code],
        wall_s=wall_s if isinstance(wall_s, float) else None,
    )


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_an_honest_program_runs_and_sees_its_files(sandbox: Sandbox) -> None:
    seen = run(sandbox, "import module; print(module.VALUE)")
    assert (seen.returncode, seen.stdout) == (0, "1\n")


def test_an_honest_program_finds_its_user_and_can_use_git(sandbox: Sandbox) -> None:
    seen = sandbox.run(
        ["/bin/sh", "-c", "grep -c root: /etc/passwd && git init -q here && ls -A here"]
    )
    assert seen.stdout.split() == ["1", ".git"], seen.output


def test_it_is_not_root_and_cannot_become_it(sandbox: Sandbox) -> None:
    seen = run(
        sandbox,
        "import os\nprint(os.getuid())\ntry:\n    os.setuid(0)\nexcept OSError:\n"
        "    print('refused')",
    )
    uid, refused = seen.stdout.split()
    assert uid != "0"
    assert refused == "refused"


def test_it_has_no_capability_and_can_win_none(sandbox: Sandbox) -> None:
    seen = run(sandbox, "print(open('/proc/self/status').read())")
    status = dict(line.split(":\t", 1) for line in seen.stdout.splitlines() if ":\t" in line)
    # It may not even keep what the user outside may do (CapBnd says what could still be won).
    assert int(status["CapEff"], 16) == 0
    assert int(status["CapPrm"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_the_network_cannot_be_reached(sandbox: Sandbox, listener: int) -> None:
    code = f"import socket; socket.create_connection(('127.0.0.1', {listener}), 2)"
    with socket.create_connection(("127.0.0.1", listener), 2):
        pass
    assert run(sandbox, code).returncode != 0


@pytest.mark.parametrize("path", ["/root", "/home", "/etc/shadow", "/var/log", "/srv", "/run/dbus"])
def test_secrets_and_homes_cannot_be_read(sandbox: Sandbox, path: str) -> None:
    code = (
        f"import os\npath = {path!r}\n"
        "if os.path.isdir(path):\n"
        "    names = [os.path.join(b, f) for b, d, fs in os.walk(path) for f in fs]\n"
        "    names = [n for n in names if '/.pyenv/' not in n and '/.venv/' not in n "
        "and '/lib/python' not in n]\n"
        "    print('FOUND' if names else 'nothing', names[:3])\n"
        "else:\n    print('FOUND', open(path).read()[:50])\n"
    )
    seen = run(sandbox, code)
    assert "FOUND" not in seen.stdout


def test_files_beside_the_repository_cannot_be_read(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("planted-secret")
    seen = run(sandbox, f"print(open({str(tmp_path / 'secret.key')!r}).read())")
    assert "FileNotFoundError" in seen.stderr


def test_of_an_editable_install_only_its_modules_are_seen(sandbox: Sandbox) -> None:
    roots = [path for path in sandbox.interpreter.roots if (path / "pyproject.toml").is_file()]
    if not roots:
        pytest.skip("no project is installed in editable mode here")
    seen = run(sandbox, f"import os; print(os.listdir({str(roots[0])!r}))")
    assert "homeostat" in seen.stdout
    assert "pyproject.toml" not in seen.stdout


def test_the_environment_holds_no_secret(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_TOKEN", "planted-secret")
    code = (
        "import os, glob\nprint(dict(os.environ))\n"
        "for path in glob.glob('/proc/[0-9]*/environ'):\n"
        "    try:\n        print(path, open(path).read())\n    except OSError:\n        pass\n"
    )
    seen = run(sandbox, code)
    assert "PATH" in seen.stdout
    assert "/proc/" in seen.stdout
    assert "planted-secret" not in seen.stdout


def test_nothing_outside_can_be_written_and_the_repository_stays_as_it_was(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.txt"
    code = (
        "import os, pathlib\n"
        f"targets = ['module.py', {str(outside)!r}, '/usr/evil', '/etc/evil', '/evil', "
        "'/run/homeostat/tree/module.py', '/run/homeostat/tools/launcher.py']\n"
        "for target in targets:\n"
        "    try:\n        pathlib.Path(target).write_text('evil')\n"
        "    except OSError:\n        pass\n"
        "print(open('module.py').read())\n"
    )
    seen = run(sandbox, code)
    assert seen.stdout.strip() == "evil", "its own copy is writable"
    assert (sandbox.repository / "module.py").read_text() == "VALUE = 1\n"
    assert not outside.exists()
    assert not Path("/usr/evil").exists()
    assert run(sandbox, "import module; print(module.VALUE)").stdout == "1\n"


def test_a_fork_bomb_is_held_by_the_process_limit(sandbox: Sandbox) -> None:
    code = (
        "import os, time\nforked = 0\n"
        "try:\n    while True:\n        if os.fork() == 0:\n            time.sleep(30)\n"
        "        forked += 1\n"
        "except BlockingIOError:\n    print('stopped at', forked, flush=True)\n    os._exit(3)\n"
    )
    seen = run(sandbox, code)
    assert seen.returncode == 3
    assert int(seen.stdout.split()[-1]) <= LIMITS.processes


def test_a_memory_bomb_dies_alone(sandbox: Sandbox) -> None:
    seen = run(sandbox, "a = []\nwhile True: a.append(bytearray(16 << 20))")
    assert not seen.passed
    assert "MemoryError" in seen.stderr or seen.stopped


def test_many_processes_together_cannot_pass_the_memory_limit(sandbox: Sandbox) -> None:
    code = (
        "import os, time\n"
        "for _ in range(4):\n    if os.fork() == 0:\n"
        "        a = bytearray(b'x' * (200 << 20))\n        time.sleep(20)\n"
        "time.sleep(20)\n"
    )
    seen = run(sandbox, code)
    assert seen.stopped is not None
    assert "memory limit" in seen.stopped


def test_the_disk_cannot_be_filled(sandbox: Sandbox) -> None:
    code = (
        "import os\nwritten = 0\n"
        "try:\n    for n in range(100):\n        with open(f'f{n}', 'wb') as f:\n"
        "            f.write(b'x' * (8 << 20)); written += 8\n"
        "except OSError as error:\n    print(written, error.errno)\n"
    )
    written, errno = run(sandbox, code).stdout.split()
    assert int(written) <= 64
    assert int(errno) == 28


def test_one_file_cannot_grow_beyond_its_limit(sandbox: Sandbox) -> None:
    code = (
        "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try:\n    open('big', 'wb').write(b'x' * (32 << 20))\nexcept OSError as e:\n"
        "    print(e.errno)\n"
    )
    assert run(sandbox, code).stdout.strip() == "27"


def test_an_endless_program_is_ended_in_time_with_all_its_children(sandbox: Sandbox) -> None:
    start = time.perf_counter()
    code = "import os, time\nos.fork()\nos.setsid() if os.fork() == 0 else 0\ntime.sleep(600)"
    seen = run(sandbox, code, wall_s=1.5)
    assert seen.stopped is not None
    assert "time limit" in seen.stopped
    assert time.perf_counter() - start < 6
    left = subprocess.run(["pgrep", "-f", "time.sleep.600."], check=False, capture_output=True)
    assert left.stdout == b""


def test_endless_output_is_cut_and_does_not_block(sandbox: Sandbox) -> None:
    seen = run(sandbox, "while True: print('x' * 10000)", wall_s=2.0)
    assert seen.stopped is not None
    assert len(seen.stdout) <= LIMITS.output_bytes


def test_processes_outside_can_be_neither_seen_nor_killed(sandbox: Sandbox) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        code = (
            "import os, signal\nkilled = []\n"
            f"for pid in [{bystander.pid}, {os.getpid()}, os.getppid(), -1]:\n"
            "    try:\n        os.kill(pid, signal.SIGTERM) if pid > 1 else None\n"
            "        killed.append(pid)\n    except OSError:\n        pass\n"
            "print(len(os.listdir('/proc')) < 200, [p for p in os.listdir('/proc') if p.isdigit()])\n"
        )
        run(sandbox, code)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("ptrace", "libc.ptrace(16, 1, 0, 0)"),
        ("mount", "libc.mount(b'none', b'/tmp', b'tmpfs', 0, 0)"),
        ("umount", "libc.umount2(b'/proc', 2)"),
        ("new user namespace", "libc.unshare(0x10000000)"),
        ("new mount namespace", "libc.unshare(0x00020000)"),
        ("chroot", "libc.chroot(b'/tmp')"),
        ("setns", "libc.setns(0, 0)"),
        ("bpf", "libc.syscall(321, 0, 0, 0)"),
        ("keyctl", "libc.syscall(250, 0, 0, 0)"),
    ],
)
def test_system_calls_that_could_break_out_are_refused(
    sandbox: Sandbox, name: str, call: str
) -> None:
    code = (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        f"result = {call}\nprint(result, ctypes.get_errno())"
    )
    result, errno = run(sandbox, code).stdout.split()
    assert (int(result), int(errno)) == (-1, 1), name


def test_a_symbolic_link_out_of_the_tree_leads_nowhere(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("planted-secret")
    (sandbox.repository / "link").symlink_to(secret)
    seen = run(sandbox, "print(open('link').read())")
    assert seen.returncode != 0
    assert "planted-secret" not in seen.output


def test_a_conftest_cannot_break_out(sandbox: Sandbox, tmp_path: Path) -> None:
    mark = tmp_path / "escaped"
    (sandbox.repository / "conftest.py").write_text(
        "import pathlib, subprocess\n"
        f"try:\n    pathlib.Path({str(mark)!r}).write_text('out')\nexcept OSError:\n    pass\n"
        f"subprocess.run(['/bin/sh', '-c', 'echo out > {mark}'])\n"
    )
    (sandbox.repository / "test_it.py").write_text("def test_it():\n    pass\n")
    python = str(sandbox.interpreter.executable)
    options = {"PYTEST_ADDOPTS": "--assert=plain -p no:cacheprovider"}
    seen = sandbox.run([python, "-m", "pytest", "-q"], env=options)
    assert "1 passed" in seen.stdout, seen.output
    assert not mark.exists()


def test_runs_side_by_side_do_not_share_the_process_limit(sandbox: Sandbox) -> None:
    results: list[Run] = []
    threads = [
        threading.Thread(target=lambda: results.append(run(sandbox, "print('ok')")))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [item.stdout for item in results] == ["ok\n"] * 3


def test_the_verdict_names_the_protections(sandbox: Sandbox) -> None:
    named = " ".join(sandbox.protections)
    for word in ("no network", "read-only", "process limit 24", "memory limit", "unprivileged"):
        assert word in named


def test_without_bubblewrap_it_says_so(sandbox: Sandbox) -> None:
    limited = Sandbox(
        sandbox.repository, sandbox.tree, sandbox.interpreter, LIMITS, Isolation.LIMITS_ONLY
    )
    assert "no network" not in limited.protections
    seen = run(limited, "import module; print(module.VALUE)")
    assert seen.stdout == "1\n"
