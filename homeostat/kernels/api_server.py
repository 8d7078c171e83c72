"""The supervised side of the HTTP API: proves over the socket that it answers, and whom it lets in.

The API itself is a process of the stack (`python -m homeostat.api`). Where no stack runs, boot
starts one for as long as the booting process lives, and says so in its evidence.
"""

from __future__ import annotations

import asyncio
import atexit
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import from_iso, new_id, utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.errors import HomeostatError
from homeostat.supervision import api_access, live

#: What the probe asks for, and the pages and metrics that each cycle reads.
STATUS = "/api/v1/status"
READ_EACH_CYCLE = (STATUS, "/api/v1/incidents", "/api/v1/approvals", "/api/v1/audit", "/metrics")
EVENTS = "/api/v1/events"
_LISTENING = ": listening from "
#: An answer that was put together longer ago than this is a stale one.
FRESH = timedelta(seconds=10)
#: How long an API that boot starts may take until it answers, in seconds.
START_TIMEOUT_S = 20.0
_TIMEOUT_S = 5.0


class ApiUnreachableError(HomeostatError):
    """The API does not answer; start the stack with `homeostat up`."""

    exit_code = 69


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    body: bytes


class ApiServer(Component):
    """Watches the API from outside, as a client does."""

    spec = ComponentSpec(
        name="api_server",
        wing=Wing.KERNELS,
        tier=6,
        summary="Serves state, incidents, approvals, reports and metrics to those with the token.",
        needs=("kernels.governance", "kernels.health_monitor"),
        timeout_s=10.0,
    )

    #: The API that this process started because none answered.
    _started: subprocess.Popen[bytes] | None = None

    def ask(self, path: str, token: str | None) -> Answer:
        """Get one path over the socket; raises ApiUnreachableError."""
        with self._asked(path, token) as response:
            return Answer(response.status, response.read())

    def listen(self, token: str | None) -> int:
        """Open the live events and return the audit row from which on they tell.

        Raises ApiUnreachableError where the stream does not begin as it should.
        """
        with self._asked(EVENTS, token) as response:
            line = response.readline().decode(errors="replace").strip()
        if response.status != 200 or not line.startswith(_LISTENING):
            raise ApiUnreachableError(
                f"The live events began with status {response.status} and {line!r}."
            )
        return int(line.removeprefix(_LISTENING))

    @contextmanager
    def _asked(self, path: str, token: str | None) -> Iterator[http.client.HTTPResponse]:
        url = api_access.address(self.context.settings)
        if url is None:
            raise ApiUnreachableError("No API has said where it listens; run `homeostat up`.")
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port, timeout=_TIMEOUT_S
        )
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            connection.request("GET", path, headers=headers)
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise ApiUnreachableError(
                f"The API at {url} does not answer ({error}); see `homeostat status`."
            ) from error
        finally:
            connection.close()

    def prepare(self) -> None:
        """Start an API for this process where none answers; it imports while the others boot."""
        if self._started is None and not self._answers():
            self._started = _start()

    def boot(self, session: Session) -> Evidence:
        """Probe the stack's API, or where there is none, one that is started for this process."""
        if not self._answers():
            if self._started is None or self._started.poll() is not None:
                self._started = _start()
            self._await(self._started)
        return self.probe(session)

    def _served_by(self) -> str:
        own = None if self._started is None else str(self._started.pid)
        if own is None or api_access.process(self.context.settings) != own:
            return "the stack"
        return f"this boot, as process {own}"

    def _answers(self) -> bool:
        try:
            self.ask(STATUS, None)
        except ApiUnreachableError:
            return False
        return True

    def _await(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the API answers; raises ApiUnreachableError where it does not."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if process.poll() is not None:
                words = process.stderr.read().decode(errors="replace") if process.stderr else ""
                raise ApiUnreachableError(f"The API ended at its start: {words.strip()[-300:]}")
            if time.monotonic() > deadline:
                process.terminate()
                raise ApiUnreachableError(f"The API did not answer within {START_TIMEOUT_S:.0f} s.")
            time.sleep(0.02)

    def probe(self, session: Session) -> Evidence:
        """Ask with the token, without one and with a wrong one; only the first may be answered."""
        del session
        watch = Stopwatch()
        asked_at, nonce = utcnow(), new_id()
        answer = self.ask(f"{STATUS}?nonce={nonce}", api_access.token(self.context.settings))
        refused = [self.ask(STATUS, given).status for given in (None, "not-the-token")]
        told = _told(answer)
        names = sorted(str(one.get("name")) for one in told.get("components", []))
        whole = names == sorted(registry.names())
        made_at = _made_at(told)
        # A kept answer may be stamped anew, but it cannot know this question's nonce.
        fresh = made_at is not None and abs(made_at - asked_at) < FRESH
        fresh = fresh and told.get("nonce") == nonce
        observed: dict[str, JsonValue] = {
            "served_by": self._served_by(),
            "url": api_access.address(self.context.settings),
            "status_with_token": answer.status,
            "status_without": list(refused),
            "components": len(names),
            "names_all_components": whole,
            "fresh": fresh,
        }
        return Evidence(
            claim="the API tells the present state of all components, and only with the token",
            passed=answer.status == 200 and refused == [401, 401] and whole and fresh,
            observed=observed,
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Read each of the API's parts as a client does; raises where one does not answer well."""
        del session, due_at
        token = api_access.token(self.context.settings)
        seconds: dict[str, JsonValue] = {}
        for path in READ_EACH_CYCLE:
            watch = Stopwatch()
            answer = self.ask(path, token)
            if answer.status != 200 or not answer.body:
                raise ApiUnreachableError(f"The API answered {path} with status {answer.status}.")
            seconds[path] = round(watch.seconds, 4)
        watch = Stopwatch()
        stands_at = asyncio.run(live.newest()).sequence
        told = self.listen(token)
        if told < stands_at:
            raise ApiUnreachableError(
                f"The live events begin at row {told} of the log, which stands at {stands_at}."
            )
        seconds[EVENTS] = round(watch.seconds, 4)
        return CycleResult(work=len(seconds), observed={"seconds": seconds})


def _start() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "homeostat.api", "--while-stdin-is-open"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "HOMEOSTAT_LOG_LEVEL": "ERROR", "HOMEOSTAT_API_PORT": "0"},
    )
    # The process's input is the pipe's other end: it closes when this process ends, however.
    atexit.register(process.terminate)
    return process


def _told(answer: Answer) -> dict[str, Any]:
    try:
        found = json.loads(answer.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _made_at(told: dict[str, Any]) -> datetime | None:
    try:
        return from_iso(str(told["at"]))
    except (KeyError, ValueError):
        return None
