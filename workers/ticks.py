"""The messages of ticks: built once per entry, completed once per tick.

The form is what Celery's own producer sends (protocol 2), because any worker must read it.
"""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from celery import Celery
from kombu.utils.uuid import uuid
from pydantic import JsonValue

from homeostat.clock import new_id
from homeostat.settings import settings
from homeostat.supervision import cadence
from homeostat.supervision.timetable import Entry
from workers import queues, signing

#: A tick is worth running for one interval, and at least this long, in seconds: a five-second
#: cadence must survive a worker's restart (3–6 s) without a gap.
SHORTEST_LIFE_S = 20.0
_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


@dataclass(frozen=True)
class Message:
    """One message as it goes to a queue."""

    queue: str
    priority: int
    headers: dict[str, Any]
    body: str
    task_id: str

    def envelope(self) -> str:
        """Return the message as kombu's Redis transport keeps it in its lists."""
        return json.dumps(
            {
                "body": base64.b64encode(self.body.encode()).decode(),
                "content-encoding": "utf-8",
                "content-type": "application/json",
                "headers": self.headers,
                "properties": {
                    "correlation_id": self.task_id,
                    "reply_to": "",
                    "delivery_mode": 2,
                    "delivery_info": {"exchange": "", "routing_key": self.queue},
                    "priority": self.priority,
                    "body_encoding": "base64",
                    "delivery_tag": uuid(),
                },
            }
        )


class Template:
    """Builds the messages of one entry."""

    def __init__(self, app: Celery, entry: Entry) -> None:
        self.entry = entry
        self.every_us = cadence.interval_us(entry.interval_s)
        self._offset_us = cadence.offset_us(entry.name, entry.interval_s)
        self.queue = queues.queue_of(entry.task)
        self._priority = int(app.conf.task_default_priority)
        self._life_us = round(max(entry.interval_s, SHORTEST_LIFE_S) * 1_000_000)
        # What a check may do is bounded by its own lease; every other task causes effects.
        self._signed = not entry.task.startswith("checks.")
        self._headers = _common_headers(app, entry)

    def newest_us(self, at_us: int) -> int:
        """Return the newest due time not after `at_us`, in microseconds since the epoch."""
        return (at_us - self._offset_us) // self.every_us * self.every_us + self._offset_us

    def message(self, due_us: int, now_us: int) -> Message:
        """Return the message of the tick that is due at `due_us`, sent at `now_us`."""
        kwargs: dict[str, JsonValue] = {
            **self.entry.kwargs,
            "entry": self.entry.name,
            "due_at": cadence.moment(due_us).isoformat(),
            "interval_s": self.entry.interval_s,
        }
        task_id = new_id()
        headers = {
            **self._headers,
            "id": task_id,
            "root_id": task_id,
            "expires": cadence.moment(now_us + self._life_us).isoformat(),
            "kwargsrepr": repr(kwargs),
        }
        if self._signed:
            key = settings().secret_key()
            headers[signing.HEADER] = signing.sign(key, self.entry.task, task_id, kwargs)
        body = json.dumps([[], kwargs, _EMBED])
        return Message(self.queue, self._priority, headers, body, task_id)


def _common_headers(app: Celery, entry: Entry) -> dict[str, Any]:
    origin = f"beat@{socket.gethostname()}"
    headers: dict[str, Any] = app.amqp.as_task_v2("", entry.task, origin=origin).headers
    headers["celery_beat_task"] = True
    return headers


def used_queues(templates: Sequence[Template]) -> list[str]:
    """Return the queues that the entries go to, each once."""
    return sorted({template.queue for template in templates})
