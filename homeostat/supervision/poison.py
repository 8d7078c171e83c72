"""Poison on a queue: messages that no worker can decode, found and moved aside on Redis.

A worker that meets such a message dies or drops it, comes back, and meets it again. The message
is moved to a quarantine list, whole, so that a person can look at it; nothing is thrown away.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from redis import Redis

from homeostat.dispatch import QUEUES, REDIS_SEPARATOR, redis_lists
from homeostat.errors import HomeostatError
from homeostat.incidents.failure import Failure, Source
from homeostat.settings import Settings

#: Messages that were moved aside lie here, newest first.
QUARANTINE = "homeostat:quarantine"
#: A queue is looked through from the end where workers take from, no deeper than this.
_DEPTH = 1_000


class NoRedisBrokerError(HomeostatError):
    """The broker is not Redis, so poison cannot be purged here; use the broker's own tools."""


@dataclass(frozen=True)
class Poison:
    """One message that cannot be decoded, with its list and why."""

    key: str
    raw: bytes
    why: str

    @property
    def queue(self) -> str:
        """The queue whose list it lies in."""
        return self.key.split(REDIS_SEPARATOR, 1)[0]


def connect(settings: Settings) -> Redis:
    """Return a client of the broker; raises NoRedisBrokerError where it is no Redis."""
    broker = settings.broker
    if not broker.startswith(("redis", "valkey")):
        raise NoRedisBrokerError
    url = broker.replace("redis+socket://", "unix://", 1).replace("valkey://", "redis://", 1)
    return Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)


def find(client: Redis, queues: tuple[str, ...] = QUEUES) -> list[Poison]:
    """Return the poison on the queues, without moving it."""
    found = []
    for queue in queues:
        for key in redis_lists(queue):
            rows: Any = client.lrange(key, -_DEPTH, -1)
            found += [Poison(key, raw, why) for raw in rows if (why := defect_of(raw))]
    return found


def quarantine(client: Redis, poison: Poison) -> bool:
    """Move one message aside; False where it is no longer on its queue."""
    script = (
        "if redis.call('LREM', KEYS[1], -1, ARGV[1]) == 1 then "
        "redis.call('LPUSH', KEYS[2], ARGV[1]) return 1 else return 0 end"
    )
    return bool(client.eval(script, 2, poison.key, QUARANTINE, poison.raw))


def failure_of(queue: str, why: str, task: str | None = None) -> Failure:
    """Return the failure that a message set aside is, whoever sets it aside."""
    return Failure.without_frames(
        "PoisonMessageError",
        f"A message on the queue {queue} was set aside: {why}.",
        source=Source.WORKER,
        component="workers.main",
        task=task,
    )


def defect_of(raw: bytes) -> str:
    """Return why the message cannot be decoded, or an empty text for a sound one."""
    try:
        envelope = json.loads(raw)
        headers, properties = envelope["headers"], envelope["properties"]
        body = envelope["body"]
        if properties.get("body_encoding") == "base64":
            body = base64.b64decode(body, validate=True)
        content = json.loads(body)
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        return f"the envelope cannot be read ({type(error).__name__}: {error})"
    if not _can_be_delivered(properties):
        return "the properties name no delivery tag, exchange and routing key"
    if not isinstance(headers, dict) or not isinstance(headers.get("task"), str):
        return "the headers name no task"
    if not isinstance(headers.get("id"), str):
        return "the headers hold no id"
    if not _is_call(content):
        return "the body is not [args, kwargs, embed]"
    limits = headers.get("timelimit") or [None, None]
    if not isinstance(limits, list) or any(
        not isinstance(limit, int | float | None) for limit in limits
    ):
        return "the time limit is not a number"
    return ""


def _can_be_delivered(properties: dict[str, Any]) -> bool:
    """Whether kombu can note the message as unacknowledged; it dies of one that it cannot."""
    info = properties.get("delivery_info")
    return (
        isinstance(properties.get("delivery_tag"), str)
        and isinstance(info, dict)
        and {"exchange", "routing_key"} <= info.keys()
    )


def _is_call(content: object) -> bool:
    return (
        isinstance(content, list)
        and len(content) == 3
        and isinstance(content[0], list)
        and isinstance(content[1], dict)
    )
