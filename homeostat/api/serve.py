"""Serves the API on loopback and writes down where, so that others find it."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import uvicorn
from fastapi import FastAPI

from homeostat import registry
from homeostat.api.app import create_app
from homeostat.errors import HomeostatError
from homeostat.incidents import redacted_log
from homeostat.settings import settings
from homeostat.store import database
from homeostat.supervision import api_access

HOST = "127.0.0.1"
#: Live event streams never end by themselves; they get this many seconds at the end.
_GOODBYE_S = 2


class PortTakenError(HomeostatError):
    """The API's port is taken; set HOMEOSTAT_API_PORT to a free one, or to 0 for any."""

    exit_code = 69


def serve(*, while_stdin_is_open: bool = False) -> None:
    """Serve until a signal ends it; raises PortTakenError where the port cannot be had.

    With `while_stdin_is_open`, it also ends when the process that holds the other end of the
    standard input has gone.
    """
    api_access.token(settings())
    database.migrate()
    listening = _listen(settings().api_port)
    # The first look at all components imports them, which no client should have to wait for.
    registry.specs()
    host, port = listening.getsockname()[:2]
    app = create_app()
    app.router.lifespan_context = _published(f"http://{host}:{port}")
    config = uvicorn.Config(
        app,
        log_level=settings().log_level.lower(),
        access_log=False,
        timeout_graceful_shutdown=_GOODBYE_S,
        server_header=False,
    )
    redacted_log.guard(logging.getLogger("uvicorn"))
    server = uvicorn.Server(config)
    if while_stdin_is_open:
        threading.Thread(target=_end_with_stdin, args=(server,), daemon=True).start()
    server.run(sockets=[listening])


def _end_with_stdin(server: uvicorn.Server) -> None:
    while sys.stdin.buffer.read(1024):
        pass
    server.should_exit = True


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError as error:
        listening.close()
        raise PortTakenError(
            f"The API cannot listen on {HOST}:{port} ({error.strerror}); set HOMEOSTAT_API_PORT "
            "to a free port, or to 0 for any."
        ) from error
    # The queue of connections stands before the address is told to anybody.
    listening.listen(128)
    return listening


def _published(url: str) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        api_access.publish_address(settings(), url)
        try:
            yield
        finally:
            api_access.withdraw_address(settings())

    return lifespan


def main() -> None:
    """Serve; a known error is one sentence and an exit code."""
    try:
        serve(while_stdin_is_open="--while-stdin-is-open" in sys.argv[1:])
    except HomeostatError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
