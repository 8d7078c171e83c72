"""Brokers for tests with real processes: the embedded server, and RabbitMQ where it answers."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest

from homeostat.settings import settings
from homeostat.store.embedded import EmbeddedServer
from tests.conftest import forget_settings

RABBITMQ = ("127.0.0.1", 5672)


def rabbitmq_refusal() -> str:
    """Return why no test can use RabbitMQ here, or an empty text."""
    if shutil.which("rabbitmqctl") is None:
        return "rabbitmqctl is not installed, so no virtual host of our own can be made"
    try:
        socket.create_connection(RABBITMQ, timeout=2).close()
    except OSError:
        return "RabbitMQ does not answer on 127.0.0.1:5672"
    return ""


def _rabbitmqctl(*words: str) -> None:
    subprocess.run(["rabbitmqctl", "-q", *words], check=True, capture_output=True, timeout=60)


@pytest.fixture
def embedded_broker() -> Iterator[EmbeddedServer]:
    """The embedded server of the test's own state folder, running."""
    with EmbeddedServer(settings()) as server:
        yield server


@pytest.fixture
def rabbitmq(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a RabbitMQ virtual host of the test's own, set as the broker."""
    if reason := rabbitmq_refusal():
        pytest.skip(reason)
    name = f"homeostat_test_{secrets.token_hex(6)}"
    try:
        _rabbitmqctl("add_vhost", name)
        _rabbitmqctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"rabbitmqctl may not make a virtual host: {error}")
    url = f"amqp://guest:guest@{RABBITMQ[0]}:{RABBITMQ[1]}/{name}"
    monkeypatch.setenv("HOMEOSTAT_BROKER_URL", url)
    forget_settings()
    yield url
    _rabbitmqctl("delete_vhost", name)


@pytest.fixture(params=["embedded", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> str:
    """The name of a running broker that the settings point to, one after the other."""
    kind: str = request.param
    request.getfixturevalue("embedded_broker" if kind == "embedded" else "rabbitmq")
    return kind
