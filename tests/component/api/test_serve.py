"""The API as a process of its own, and the kernel that watches it over the socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from homeostat import registry
from homeostat.component import Component
from homeostat.kernels.api_server import Answer, ApiServer, ApiUnreachableError
from homeostat.settings import settings
from homeostat.store.database import transaction
from homeostat.supervision import api_access
from homeostat.testing import check_contract
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("sqlite_store")

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    begun = []

    def _start(**environment: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "homeostat.api"],
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
        )
        begun.append(process)
        return process

    yield _start
    for process in begun:
        process.kill()
        process.wait()


@pytest.fixture
def kernel() -> ApiServer:
    found = registry.find("kernels.api_server")
    assert isinstance(found, ApiServer)
    return found


def address() -> str | None:
    return api_access.address(settings())


def test_it_keeps_the_contract_on_a_running_api(start: Start, kernel: Component) -> None:
    start()
    wait_until(address, "the API says where it listens")
    with transaction() as session:
        evidence = check_contract(kernel, session)
    assert evidence.observed["status_without"] == [401, 401]


def test_an_api_that_is_gone_fails_the_probe_and_takes_its_address_along(
    start: Start, kernel: ApiServer
) -> None:
    process = start()
    wait_until(address, "the API says where it listens")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) in {0, -signal.SIGTERM}
    assert address() is None
    with transaction() as session, pytest.raises(ApiUnreachableError):
        kernel.probe(session)


def test_an_api_that_was_killed_fails_the_probe(start: Start, kernel: ApiServer) -> None:
    process = start()
    wait_until(address, "the API says where it listens")
    process.kill()
    process.wait()
    with transaction() as session, pytest.raises(ApiUnreachableError):
        kernel.probe(session)


def test_boot_without_a_stack_serves_for_itself_and_ends_with_its_process() -> None:
    script = (
        "import sys\n"
        "from homeostat import registry\n"
        "from homeostat.store.database import transaction\n"
        "with transaction() as session:\n"
        "    evidence = registry.find('kernels.api_server').boot(session)\n"
        "print(evidence.passed, evidence.observed['served_by'], flush=True)\n"
        "sys.stdin.read()\n"
    )
    boot = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert boot.stdout is not None
    line = boot.stdout.readline()
    assert line.startswith("True this boot")
    boot.kill()
    boot.wait()
    wait_until(lambda: address() is None, "the API ends when its boot was killed")


def test_an_api_that_was_begun_early_is_the_one_that_the_boot_asks(kernel: ApiServer) -> None:
    kernel.prepare()
    begun = kernel._started
    assert begun is not None
    kernel.prepare()
    assert kernel._started is begun, "one is enough"
    with transaction() as session:
        evidence = kernel.boot(session)
    assert (evidence.passed, evidence.observed["served_by"]) == (
        True,
        f"this boot, as process {begun.pid}",
    )
    begun.kill()
    begun.wait()
    with transaction() as session:
        evidence = kernel.boot(session)
    assert evidence.passed, "one that has died since is started anew"
    assert str(begun.pid) not in str(evidence.observed["served_by"])
    assert kernel._started is not None
    kernel._started.terminate()


def test_a_stack_s_api_is_left_to_serve(start: Start, kernel: ApiServer) -> None:
    start()
    wait_until(address, "the API says where it listens")
    kernel.prepare()
    with transaction() as session:
        assert kernel.boot(session).observed["served_by"] == "the stack"
    assert kernel._started is None


class OpenToAll(ApiServer):
    """Asks as if the API let everybody in."""

    def ask(self, path: str, token: str | None) -> Answer:
        del token
        return super().ask(path, api_access.token(self.context.settings))


class Stale(ApiServer):
    """Answers with what was true once."""

    def ask(self, path: str, token: str | None) -> Answer:
        answer = super().ask(path, token)
        return Answer(answer.status, answer.body.replace(b'"at":"20', b'"at":"19'))


@pytest.mark.parametrize("kind", [OpenToAll, Stale])
def test_an_api_that_is_open_to_all_or_stale_is_not_believed(
    start: Start, kernel: ApiServer, kind: type[ApiServer]
) -> None:
    start()
    wait_until(address, "the API says where it listens")
    with transaction() as session:
        assert not kind(kernel.context).probe(session).passed
        assert kernel.probe(session).passed


def test_a_taken_port_is_one_sentence(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = start(HOMEOSTAT_API_PORT=str(taken.getsockname()[1]))
        assert process.wait(20) == 69
    assert process.stderr is not None
    words = process.stderr.read().decode()
    assert words.count("\n") == 1
    assert "HOMEOSTAT_API_PORT" in words
