"""kombu's Redis transport, with every message looked at when it is taken from its queue.

A message that kombu cannot parse is neither on its queue any more nor noted as unacknowledged:
it would be lost, and its worker with it.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis as kombu_redis
from redis import StrictRedis

from homeostat.dispatch import QUEUES
from homeostat.settings import settings
from homeostat.supervision import poison


class _SiftingClient(StrictRedis):
    """Looks at every message at the pop."""

    def parse_response(self, connection: Any, command_name: str | bytes, **options: Any) -> Any:
        """Return the server's answer; a poisonous message is set aside and is no answer."""
        answer: Any = super().parse_response(connection, command_name, **options)
        if command_name != "BRPOP" or not answer:
            return answer
        key, raw = answer
        queue = _text(key)
        # Replies to remote control are popped as well, and are no tasks.
        # A control run (recovery off) shows what a worker dies of otherwise.
        sifted = queue in QUEUES and settings().recovery
        why = poison.defect_of(raw) if sifted else ""
        if not why:
            return answer
        # Imported here, because whoever only sends has no need of the store.
        from workers.quarantine import set_aside

        set_aside(raw, queue=queue, why=why, task=None)
        return None


def _text(key: bytes | str) -> str:
    text = key.decode() if isinstance(key, bytes) else key
    return text.split(kombu_redis.Channel.sep, 1)[0]


class _SiftingChannel(kombu_redis.Channel):
    def _get_client(self) -> Any:
        super()._get_client()  # It refuses versions of redis-py that do not fit.
        return _SiftingClient


class SiftingTransport(kombu_redis.Transport):
    """kombu's Redis transport, with every message looked at when it is taken."""

    Channel = _SiftingChannel
