"""What a running stack tells others: its lock, its addresses, its ports, in the state folder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.engine import make_url

from homeostat.clock import utcnow
from homeostat.errors import AlreadyRunningError, HomeostatError
from homeostat.settings import PREFIX, Settings
from workers import readiness
from workers.flower_auth import FILE as FLOWER_AUTH

FILE = "stack.json"
LOCK = "stack.lock"


class PortTakenError(HomeostatError):
    """A port is taken by another program; choose another one, or 0 for any free port."""

    exit_code = 71


class StackState(BaseModel):
    """The contents of `stack.json`. `phase` is starting or ready; `pid` is the keeper's."""

    model_config = ConfigDict(frozen=True)

    phase: str
    pid: int
    started_at: str
    seconds: float = Field(description="From the command to everything ready.")
    state_dir: str
    broker: str
    database: str
    redis: str
    flower_url: str
    flower_auth: str = Field(description="The file that holds user and password.")
    api_url: str
    processes: dict[str, int] = Field(description="Process name → pid at the time of writing.")


class Lock:
    """The state folder's lock; the kernel gives it up when its holder dies."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._descriptor is not None

    def take(self) -> None:
        """Take it; raises AlreadyRunningError where another process holds it."""
        path = self._settings.ensure_state_dir() / LOCK
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise AlreadyRunningError(
                f"A stack already runs on {self._settings.state_dir}; stop it with "
                "`homeostat down` first, or set HOMEOSTAT_STATE_DIR to another folder."
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it up, where it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def keeper_of(settings: Settings) -> int | None:
    """Return the pid of the process that holds the state folder's lock, None where none does."""
    try:
        descriptor = os.open(settings.state_dir / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.read(descriptor, 20) or 0) or None
    finally:
        os.close(descriptor)
    return None


def read(settings: Settings) -> StackState | None:
    """Return what `stack.json` says, None where there is none or it cannot be read."""
    with contextlib.suppress(OSError, ValidationError):
        return StackState.model_validate_json((settings.state_dir / FILE).read_text())
    return None


def running(settings: Settings) -> StackState | None:
    """Return the state of the stack that runs on this folder and is ready, None otherwise."""
    state = read(settings)
    keeper = keeper_of(settings)
    ready = state is not None and state.phase == "ready" and state.pid == keeper
    return state if ready else None


def write(settings: Settings, state: StackState) -> None:
    """Write `stack.json` in one step, so that no reader sees half of it."""
    with tempfile.NamedTemporaryFile(
        "w", dir=settings.state_dir, prefix=f".{FILE}.", delete=False
    ) as file:
        file.write(json.dumps(state.model_dump(), indent=2) + "\n")
    Path(file.name).replace(settings.state_dir / FILE)


def remove(settings: Settings) -> None:
    """Remove `stack.json`: the stack had a clean end."""
    (settings.state_dir / FILE).unlink(missing_ok=True)


def describe(settings: Settings, *, phase: str, seconds: float = 0.0) -> StackState:
    """Return the state of the stack as it stands now."""
    return StackState(
        phase=phase,
        pid=os.getpid(),
        started_at=utcnow().isoformat(),
        seconds=seconds,
        state_dir=str(settings.state_dir),
        broker=_without_password(settings.broker),
        database=make_url(settings.database).render_as_string(),
        redis=_without_password(settings.redis),
        flower_url=f"http://127.0.0.1:{settings.flower_port}",
        flower_auth=str(settings.state_dir / FLOWER_AUTH),
        api_url=f"http://127.0.0.1:{settings.api_port}",
        processes=readiness.running_pids(settings),
    )


def _without_password(url: str) -> str:
    # A socket's URL has no place for a password, and SQLAlchemy's reader would not give it back.
    return url if "@" not in url else make_url(url).render_as_string()


def with_ports(settings: Settings) -> Settings:
    """Return the settings with a free port wherever 0 asked for any.

    Raises PortTakenError where a port that was asked for is taken.
    """
    chosen = {
        name: _free_port(getattr(settings, name), name) for name in ("api_port", "flower_port")
    }
    return settings.model_copy(update=chosen)


def _free_port(port: int, name: str) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortTakenError(
                f"Port {port} cannot be used ({error.strerror}); stop what listens on it, or set "
                f"{PREFIX}{name.upper()} to another port (0: any free one)."
            ) from error
        return int(probe.getsockname()[1])


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment of the stack's processes: this one's, and what was chosen."""
    return {
        **os.environ,
        f"{PREFIX}STATE_DIR": str(settings.state_dir),
        f"{PREFIX}API_PORT": str(settings.api_port),
        f"{PREFIX}FLOWER_PORT": str(settings.flower_port),
        "PYTHONUNBUFFERED": "1",
    }
