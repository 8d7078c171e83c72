"""Keeps a message that cannot be read from killing the worker that takes it.

Celery drops some malformed messages with a line in the log, and dies of others and meets them
again at its next start. Here each is set aside, and the worker lives on. What the Redis
transport cannot even parse is caught before, in `workers.sifting`.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer

from workers.quarantine import set_aside

log = logging.getLogger(__name__)


class GuardedConsumer(Consumer):
    """A consumer that survives every message; what it cannot take is set aside."""

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        """Return the handler of messages, with what it raises caught."""
        handle = super().create_task_handler(*args, **kwargs)
        lost_connection = tuple(self.connection_errors)

        def on_task_received(message: Any) -> Any:
            try:
                return handle(message)
            except lost_connection:
                raise
            except Exception as error:  # noqa: BLE001  # whatever a forged header makes it raise
                self._set_aside(message, f"{type(error).__name__}: {error}")
                message.reject_log_error(log, lost_connection)

        return on_task_received

    def on_unknown_message(self, body: object, message: Any) -> None:
        """Set aside what is no task at all."""
        self._set_aside(message, "it asks for no task")
        super().on_unknown_message(body, message)

    def on_unknown_task(self, body: object, message: Any, exc: Exception) -> None:
        """Set aside what asks for a task that nobody registered."""
        self._set_aside(message, "nobody registered its task")
        super().on_unknown_task(body, message, exc)

    def on_invalid_task(self, body: object, message: Any, exc: Exception) -> None:
        """Set aside what asks for a task in an invalid way."""
        self._set_aside(message, str(exc))
        super().on_invalid_task(body, message, exc)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Set aside what cannot be decoded."""
        self._set_aside(message, str(exc))
        super().on_decode_error(message, exc)

    def _set_aside(self, message: Any, why: str) -> None:
        headers = message.headers if isinstance(message.headers, dict) else {}
        task = headers.get("task")
        info = message.delivery_info or {}
        set_aside(
            _raw(message),
            queue=str(info.get("routing_key", "unknown")),
            why=why,
            task=task if isinstance(task, str) else None,
        )


def _raw(message: Any) -> bytes:
    """Return the message as one JSON text: as it came, or rebuilt where it came over AMQP."""
    whole = getattr(message, "_raw", None)
    if whole is None:
        body = message.body
        body = body.encode() if isinstance(body, str) else bytes(body)
        whole = {
            "body": base64.b64encode(body).decode(),
            "content-type": message.content_type,
            "content-encoding": message.content_encoding,
            "headers": message.headers,
            "properties": {**message.properties, "body_encoding": "base64"},
        }
    return json.dumps(whole, default=repr).encode()
