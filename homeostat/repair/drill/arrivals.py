"""When the messages of a queue arrived at the broker: looked at from outside, while it happens."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from redis import Redis, RedisError

from homeostat.clock import utcnow

#: Seconds between two looks at the broker: the error of what is measured.
LOOK_EVERY_S = 0.02


@dataclass(frozen=True)
class Arrival:
    """One message: the task that it asks for, its arguments, and when it was first seen."""

    task: str
    kwargs: dict[str, Any]
    broker_priority: int
    at: datetime


class Arrivals:
    """Watches a queue on a Redis server from `with` to its end; nothing is taken from it."""

    def __init__(self, socket: str, queue: str) -> None:
        self._redis = Redis(unix_socket_path=socket, socket_timeout=2, decode_responses=True)
        self._queue = queue
        self._seen: dict[str, Arrival] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="drill arrivals")

    @property
    def found(self) -> list[Arrival]:
        """The messages seen so far, in the order of their arrival."""
        return sorted(self._seen.values(), key=lambda one: one.at)

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Look once more, and end."""
        self._over.set()
        self._thread.join()
        self._look()
        self._redis.close()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            try:
                self._look()
            except RedisError:
                # The server may be busy starting; the last look is not forgiving.
                continue

    def _look(self) -> None:
        for name in self._redis.scan_iter(f"{self._queue}*", _type="list"):
            texts: Any = self._redis.lrange(str(name), 0, -1)
            for text in texts:
                if text not in self._seen:
                    self._seen[text] = _arrival(str(text))


def _arrival(text: str) -> Arrival:
    message = json.loads(text)
    body = json.loads(base64.b64decode(message["body"]))
    return Arrival(
        task=str(message["headers"]["task"]),
        kwargs=dict(body[1]),
        broker_priority=int(message["properties"]["priority"]),
        at=utcnow(),
    )
