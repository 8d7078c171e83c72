"""What can be asked of running workers, by a process that imports no task."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from celery import Celery
from celery.utils.nodenames import host_format
from kombu.exceptions import OperationalError

import homeostat.dispatch
from homeostat.errors import BrokerUnavailableError
from homeostat.settings import Settings, settings
from workers import queues
from workers.config import celery_settings
from workers.depths import depths
from workers.dispatch import CeleryDispatcher

#: The name of the main worker's node, before the `@`.
MAIN = "main"
#: The name of the fix worker's node.
FIX = "fix"
#: The name of the models worker's node; it runs where the extra `deep` is installed.
MODELS = "models"


def client_app() -> Celery:
    """Return an app that sends and asks and knows no task, so that it costs no import of one."""
    return _app_of(settings())


@lru_cache(maxsize=4)
def _app_of(chosen: Settings) -> Celery:
    app = Celery("homeostat-client", set_as_current=False)
    app.config_from_object(celery_settings(chosen))
    return app


def install_dispatcher() -> CeleryDispatcher:
    """Make this process send through the client app, and return the sender."""
    dispatcher = CeleryDispatcher(client_app())
    homeostat.dispatch.install(dispatcher)
    return dispatcher


def require_broker() -> None:
    """Raise BrokerUnavailableError unless the broker takes a connection now."""
    connection = client_app().connection_for_write()
    try:
        connection.ensure_connection(max_retries=1, interval_start=0.1, interval_max=0.1, timeout=3)
    # A transport raises what its client library raises, and the door needs one sentence.
    except Exception as error:
        raise BrokerUnavailableError(
            f"The broker at {connection.as_uri()} does not answer ({error}); "
            "check HOMEOSTAT_BROKER_URL and that the server is up."
        ) from error
    finally:
        connection.release()


def pings(names: Collection[str], *, timeout_s: float = 0.5) -> set[str]:
    """Return which of this host's nodes answer a ping in time; each by its name before the `@`."""
    nodes = [host_format(f"{name}@%h") for name in names]
    inspect = client_app().control.inspect(nodes, timeout=timeout_s, limit=len(nodes))
    try:
        with _broker_named():
            replies = inspect.ping() or {}
    except BrokerUnavailableError:
        return set()
    return {node.split("@", 1)[0] for node, reply in replies.items() if "ok" in reply}


@contextmanager
def _broker_named() -> Iterator[None]:
    """Turn a broker that goes away while it is asked into BrokerUnavailableError."""
    connection = client_app().connection_for_write()
    # Each transport raises the errors of its client library, which need not be OSErrors.
    away = (OperationalError, OSError, *connection.connection_errors)
    try:
        yield
    except away as error:
        raise BrokerUnavailableError from error


class WorkerPools:
    """The size of the pools of the workers of the main queues, over remote control."""

    def size(self) -> int:
        """Return the number of pool children over all of them; raises BrokerUnavailableError."""
        with _broker_named():
            stats: dict[str, Any] = client_app().control.inspect(timeout=1.0).stats() or {}
        return sum(
            len(stat.get("pool", {}).get("processes", ()))
            for node, stat in stats.items()
            if not node.startswith(f"{FIX}@")
        )

    def grow(self, by: int) -> None:
        """Ask each of them for `by` more children; raises BrokerUnavailableError."""
        with _broker_named():
            active = client_app().control.inspect(timeout=1.0).ping() or {}
            nodes = [node for node in active if not node.startswith(f"{FIX}@")]
            client_app().control.pool_grow(by, destination=nodes, reply=True, timeout=2.0)

    def shrink(self, by: int) -> None:
        """Take `by` children away, the same of each of them; raises BrokerUnavailableError."""
        with _broker_named():
            active = client_app().control.inspect(timeout=1.0).ping() or {}
            nodes = [node for node in active if not node.startswith(f"{FIX}@")]
            each = by // len(nodes) if nodes else 0
            if each:
                client_app().control.pool_shrink(each, destination=nodes, reply=True, timeout=2.0)


def queue_depths() -> dict[str, int]:
    """Return how many messages wait on each queue; raises BrokerUnavailableError."""
    return depths(client_app(), queues.ALL_QUEUES)
