"""Broken message buses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeostat.clock import new_id, utcnow
from homeostat.kernels.message_bus import Delivery, Event, MessageBus
from homeostat.kernels.message_bus.subscription import stream
from homeostat.store import redis


class PublishesNothing(MessageBus):
    def publish(
        self,
        topic: str,
        payload: Mapping[str, Any],
        *,
        publisher: str,
        key: str = "",
        event_id: str = "",
    ) -> Event:
        return Event(event_id or new_id(), topic, publisher, key, utcnow(), dict(payload))


class RefusesNobody(MessageBus):
    def publish(
        self,
        topic: str,
        payload: Mapping[str, Any],
        *,
        publisher: str,
        key: str = "",
        event_id: str = "",
    ) -> Event:
        del publisher, event_id
        return super().publish(topic, payload, publisher="kernels.message_bus", key=key)


class _OldNews:
    def __init__(self, topic: str) -> None:
        self.topic = topic

    def read(self, *, count: int = 10) -> list[Delivery]:
        del count
        old = Event("old", self.topic, "kernels.message_bus", "", utcnow(), {"nonce": "old"})
        return [Delivery(old, 0, "1-1", 1)]

    def ack(self, delivery: Delivery) -> bool:
        del delivery
        return True

    def close(self) -> None:
        """Nothing is held."""


class DeliversOldNews(MessageBus):
    def subscribe(self, topic: str, group: str, consumer: str, *, lease_s: float = 1.0) -> Any:
        del consumer, lease_s
        client: Any = redis.client()
        client.xgroup_create(stream(topic, 0), group, id="0", mkstream=True)
        return _OldNews(topic)


VARIANTS = {
    "does nothing": PublishesNothing,
    "returns success": RefusesNobody,
    "stale data stamped now": DeliversOldNews,
}
