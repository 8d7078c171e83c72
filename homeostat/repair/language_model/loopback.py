"""A language model's server on this machine, well or badly behaved: to try the port without one.

with LoopbackModel(Manner.ANSWERS, '{"title": …, "edits": […]}') as model:
    HOMEOSTAT_LLM_URL = model.url
"""

from __future__ import annotations

import json
import threading
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self

_HUGE_BYTES = 4 * 1024 * 1024


class Manner(StrEnum):
    """How the server behaves."""

    ANSWERS = "answers"
    HUGE = "huge"
    """It answers with more than anybody should read."""
    HANGS = "hangs"
    """It takes the question and says nothing."""
    TRICKLES = "trickles"
    """It sends a byte now and then, and never ends."""
    TOO_MANY = "too_many"
    BROKEN = "broken"
    NO_COMPLETION = "no_completion"
    """It answers with JSON of another shape."""


class LoopbackModel:
    """Serves `POST /v1/chat/completions` on a free port; `questions` are the bodies received."""

    def __init__(self, manner: Manner, text: str = "", *, tokens: int = 100) -> None:
        """Answer with `text`, and say that it took `tokens`."""
        self.manner, self.text, self.tokens = manner, text, tokens
        self.questions: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.ended = threading.Event()
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Handler", (_Handler,), {"model": self})
        )
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """The address for HOMEOSTAT_LLM_URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        """Start to serve."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, and let go of whoever is kept waiting."""
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    model: ClassVar[LoopbackModel]

    def do_POST(self) -> None:
        """Take a question and answer in the model's manner."""
        length = int(self.headers.get("Content-Length", "0"))
        self.model.questions.append(json.loads(self.rfile.read(length)))
        self.model.keys.append(self.headers.get("Authorization", ""))
        if self.model.manner is Manner.HANGS:
            self.model.ended.wait()
        elif self.model.manner is Manner.TOO_MANY:
            self._send(429, {"error": {"message": "slow down"}})
        elif self.model.manner is Manner.BROKEN:
            self._send(500, {"error": {"message": "out of order"}})
        elif self.model.manner is Manner.NO_COMPLETION:
            self._send(200, {"answer": self.model.text})
        elif self.model.manner is Manner.TRICKLES:
            self._trickle()
        else:
            text = "x" * _HUGE_BYTES if self.model.manner is Manner.HUGE else self.model.text
            self._send(200, _completion(text, self.model.tokens))

    def _send(self, status: int, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        try:
            self.wfile.write(raw)
        except ConnectionError:
            return  # the client has read enough

    def _trickle(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(_HUGE_BYTES))
        self.end_headers()
        while not self.model.ended.wait(0.05):
            try:
                self.wfile.write(b" ")
            except ConnectionError:
                return

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the standard library's name
        """Say nothing on standard error."""


def _completion(text: str, tokens: int) -> dict[str, Any]:
    return {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}],
        "usage": {"total_tokens": tokens},
    }
