"""Typed, durable events between components, on Redis Streams."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.kernels.message_bus import topics
from homeostat.kernels.message_bus.subscription import (
    LEASE_S,
    MOST_DELIVERIES,
    PREFIX,
    Delivery,
    Event,
    Subscription,
    bury,
    dead_letters,
    decode,
    encode,
    groups,
    stream,
)
from homeostat.kernels.message_bus.topics import TopicRefusedError
from homeostat.store import redis
from homeostat.store.redis import unavailable_named

__all__ = ["Delivery", "Event", "MessageBus", "Subscription", "TopicRefusedError"]

#: Events older than this are trimmed, unless a group still has them open or unread.
KEEP = timedelta(hours=24)
#: An open delivery that idles this long has lost its consumer, in milliseconds.
STUCK_MS = 60_000
_COUNTS = f"{PREFIX}:counts"
_PROBE = "bus.probe"
#: More than the probes that can be under way at once; each reads the whole stream.
_PROBES_KEPT = 100
_MOST_BATCHES = 10
_NAME = "kernels.message_bus"


class MessageBus(Component):
    """Publishes, delivers and keeps events; refuses what the topics do not declare."""

    spec = ComponentSpec(
        name="message_bus",
        wing=Wing.KERNELS,
        tier=0,
        summary="Carries typed, durable events between components.",
        timeout_s=10.0,
    )

    def publish(
        self,
        topic: str,
        payload: Mapping[str, JsonValue],
        *,
        publisher: str,
        key: str = "",
        event_id: str = "",
    ) -> Event:
        """Publish one event; events of one key keep their order.

        `event_id` is for what may be published twice, so that a consumer can tell.

        Raises TopicRefusedError (and counts it) where the topic does not declare this publisher
        or payload, BrokerUnavailableError where the server does not answer.
        """
        try:
            declared = topics.permitted(topic, publisher, payload)
        except TopicRefusedError:
            with unavailable_named():
                redis.client().hincrby(_COUNTS, f"refused:{publisher}", 1)
            raise
        event = Event(event_id or new_id(), topic, publisher, key, utcnow(), dict(payload))
        partition = zlib.crc32(key.encode()) % declared.partitions
        with unavailable_named():
            redis.client().xadd(stream(topic, partition), encode(event))  # type: ignore[arg-type]  # the stub's dict is invariant
        return event

    def subscribe(
        self, topic: str, group: str, consumer: str, *, lease_s: float = LEASE_S
    ) -> Subscription:
        """Return a consumer of the topic; each group sees every event, its consumers share them."""
        partitions = self._topic(topic).partitions
        return Subscription(
            redis.client(), topic, group, consumer, partitions=partitions, lease_s=lease_s
        )

    def replay(self, topic: str, since: datetime, *, limit: int = 10_000) -> list[Event]:
        """Return the events published since then that are still kept, oldest first."""
        start = str(int(since.timestamp() * 1000))
        found: list[tuple[str, Event]] = []
        with unavailable_named():
            for partition in range(self._topic(topic).partitions):
                entries: Any = redis.client().xrange(
                    stream(topic, partition), min=start, count=limit
                )
                found += [(event.id, event) for _, f in entries for event in [decode(topic, f)]]
        return [event for _, event in sorted(found, key=lambda pair: pair[0])][:limit]

    def happened(self, since: datetime) -> list[Event]:
        """Return what was published since then on every topic but the bus's own, oldest first."""
        with unavailable_named():
            there = {topic for topic, _ in _streams() if not topic.startswith("bus.")}
        found = [event for topic in sorted(there) for event in self.replay(topic, since)]
        return sorted(found, key=lambda event: event.at)

    def dead_letters(self, topic: str, *, limit: int = 100) -> list[dict[str, Any]]:
        """Return the topic's dead letters, newest first: the event, its group and attempts."""
        with unavailable_named():
            entries: Any = redis.client().xrevrange(dead_letters(topic), count=limit)
        return [
            {"event": decode(topic, f), "group": f["group"], "attempts": int(f["attempts"])}
            for _, f in entries
        ]

    def lag(self) -> dict[str, int]:
        """Return, per `topic/group`, how many events are unread or open."""
        behind: dict[str, int] = {}
        with unavailable_named():
            for topic, key in _streams():
                info: Any = redis.client().xinfo_groups(key)
                for group in info:
                    name = f"{topic}/{group['name']}"
                    behind[name] = behind.get(name, 0) + group["pending"] + (group["lag"] or 0)
        return behind

    def producers(self) -> dict[str, tuple[str, ...]]:
        """Return topic → patterns of who may publish to it."""
        return {name: topic.publishers for name, topic in topics.declared().items()}

    def refused(self) -> dict[str, int]:
        """Return how many publishes were refused, per publisher."""
        with unavailable_named():
            counts: Any = redis.client().hgetall(_COUNTS)
        return {
            name.removeprefix("refused:"): int(count)
            for name, count in counts.items()
            if name.startswith("refused:")
        }

    def _topic(self, name: str) -> topics.Topic:
        topic = topics.declared().get(name)
        if topic is None:
            raise TopicRefusedError(f"No topic is named {name!r}.")
        return topic

    def probe(self, session: Session) -> Evidence:
        """Publish an event, read it back through a group of its own, ack it, and be refused."""
        del session
        watch = Stopwatch()
        nonce, group = new_id(), f"probe-{new_id()}"
        published = self.publish(_PROBE, {"nonce": nonce}, publisher=_NAME)
        subscription = self.subscribe(_PROBE, group, group)
        try:
            found = next(
                (one for one in _drain(subscription) if one.event.payload.get("nonce") == nonce),
                None,
            )
            # Only the probe's own event counts: another worker's probe may publish meanwhile.
            was_open = found is not None and subscription.is_open(found)
            acked = found is not None and subscription.ack(found)
            left_open = found is not None and subscription.is_open(found)
        finally:
            _forget_group(_PROBE, group, subscription)
        age = abs((utcnow() - found.event.at).total_seconds()) if found else None
        read_back = found is not None and found.event.id == published.id
        refused = self._refuses_a_stranger()
        return Evidence(
            claim="an event that was published is read back and acked, and a stranger is refused",
            passed=read_back and was_open and acked and not left_open and refused,
            observed={
                "nonce": nonce,
                "read_back": read_back,
                "acked": acked,
                "was_open": was_open,
                "left_open": left_open,
                "age_s": age,
                "stranger_refused": refused,
            },
            seconds=watch.seconds,
        )

    def _refuses_a_stranger(self) -> bool:
        stranger = "probe.stranger"
        before = self.refused().get(stranger, 0)
        try:
            self.publish(_PROBE, {"nonce": "stranger"}, publisher=stranger)
        except TopicRefusedError:
            return self.refused().get(stranger, 0) > before
        return False

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Bury what no consumer manages, trim what every group has handled, and measure lag."""
        del session, due_at
        with unavailable_named():
            buried = sum(_bury_stuck(topic, key) for topic, key in _streams())
            trimmed = sum(_trim(key) for _, key in _streams())
        lag = self.lag()
        return CycleResult(
            work=1 + buried + trimmed,
            observed={"buried": buried, "trimmed": trimmed, "lag": dict(lag)},
        )


def _drain(subscription: Subscription) -> Iterator[Delivery]:
    """Yield what is there, acking all but the one that the caller stops at."""
    for _ in range(_MOST_BATCHES):
        for delivery in subscription.read(count=100):
            yield delivery
            subscription.ack(delivery)


def _streams() -> list[tuple[str, str]]:
    """Return (topic, key) of every partition that holds a stream."""
    keys = [
        (name, stream(name, partition))
        for name, topic in topics.declared().items()
        for partition in range(topic.partitions)
    ]
    with redis.client().pipeline(transaction=False) as pipe:
        for _, key in keys:
            pipe.exists(key)
        return [pair for pair, there in zip(keys, pipe.execute(), strict=True) if there]


def _forget_group(topic: str, group: str, subscription: Subscription) -> None:
    client: Any = redis.client()
    with unavailable_named():
        subscription.close()
        client.xgroup_destroy(stream(topic, 0), group)
        client.srem(groups(topic), group)
        client.delete(f"{PREFIX}:consumers:{topic}:{group}")
        client.xtrim(stream(topic, 0), maxlen=_PROBES_KEPT, approximate=False)


def _bury_stuck(topic: str, key: str) -> int:
    """Bury the events that were handed out too often and lie open with nobody to take them."""
    client: Any = redis.client()
    partition = int(key.rsplit(":", 1)[1])
    buried = 0
    for group in client.xinfo_groups(key):
        stuck = client.xpending_range(
            key, group["name"], min="-", max="+", count=100, idle=STUCK_MS
        )
        for row in stuck:
            if int(row["times_delivered"]) < MOST_DELIVERIES:
                continue
            entry_id = row["message_id"]
            for _, fields in client.xrange(key, min=entry_id, max=entry_id):
                attempts = int(row["times_delivered"])
                bury(client, topic, partition, group["name"], entry_id, fields, attempts)
                buried += 1
    return buried


def _trim(key: str) -> int:
    """Delete what is older than KEEP and older than every group's oldest open or unread event."""
    client: Any = redis.client()
    horizon = f"{int((utcnow() - KEEP).timestamp() * 1000)}-0"
    for group in client.xinfo_groups(key):
        first_open = client.xpending(key, group["name"])["min"]
        reached = first_open or group["last-delivered-id"]
        horizon = min(horizon, reached, key=_order)
    return int(client.xtrim(key, minid=horizon, approximate=False))


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)
