"""Whether what the settings name is there, asked before anything is started.

A client library tries several times and waits long; whoever mistyped an address wants to hear of
it at once. What answers here is asked properly later, by its own client.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from homeostat.errors import (
    BrokerUnavailableError,
    HomeostatError,
    SettingsError,
    StoreUnavailableError,
)
from homeostat.settings import PREFIX, Settings

#: A server on the same network takes a connection in milliseconds, one on another continent in
#: half a second; what does not within this many seconds is not there.
PATIENCE_S = 2.0
#: The ports that a URL means where it names none.
_PORTS = {
    "amqp": 5672,
    "amqps": 5671,
    "redis": 6379,
    "rediss": 6379,
    "valkey": 6379,
    "postgres": 5432,
    "postgresql": 5432,
}


@dataclass(frozen=True)
class Server:
    """A server that a setting names, by host and port."""

    what: str
    variable: str
    host: str
    port: int
    error: type[HomeostatError]


def require_paths(settings: Settings) -> None:
    """Raise SettingsError where a named file or folder is not there."""
    for name in ("repository", "market_data", "policy_file"):
        path = getattr(settings, name)
        if path is not None and not path.exists():
            raise SettingsError(
                f"{PREFIX}{name.upper()} names {path}, which is not there; correct or remove it."
            )


def require_servers(settings: Settings) -> None:
    """Raise where a named server takes no connection; all are tried at once.

    Raises BrokerUnavailableError or StoreUnavailableError within `PATIENCE_S`. A URL of several
    hosts, or of a socket, is left to its own client.
    """
    named = list(_named(settings))
    answers: queue.SimpleQueue[tuple[Server, str]] = queue.SimpleQueue()
    for server in named:
        # A look-up of a name cannot be given up, so it is left behind in its thread.
        threading.Thread(target=_try, args=(server, answers), daemon=True).start()
    waiting = {server.variable: server for server in named}
    deadline = time.monotonic() + PATIENCE_S
    while waiting:
        try:
            server, why = answers.get(timeout=max(deadline - time.monotonic(), 0))
        except queue.Empty:
            server, why = next(iter(waiting.values())), f"nothing within {PATIENCE_S:.0f} s"
        if why:
            raise server.error(
                f"The {server.what} at {server.host}:{server.port} does not answer ({why}); "
                f"check {server.variable} and that the server is up."
            )
        del waiting[server.variable]


def _try(server: Server, answers: queue.SimpleQueue[tuple[Server, str]]) -> None:
    try:
        socket.create_connection((server.host, server.port), timeout=PATIENCE_S).close()
    except OSError as error:
        answers.put((server, error.strerror or str(error)))
    else:
        answers.put((server, ""))


def _named(settings: Settings) -> Iterator[Server]:
    for what, variable, url, error in (
        ("broker", "HOMEOSTAT_BROKER_URL", settings.broker_url, BrokerUnavailableError),
        ("Redis server", "HOMEOSTAT_REDIS_URL", settings.redis_url, BrokerUnavailableError),
        ("database", "HOMEOSTAT_DATABASE_URL", settings.database_url, StoreUnavailableError),
    ):
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme.split("+")[0])
        except ValueError:
            continue
        if host and port:
            yield Server(what, variable, host, port, error)
