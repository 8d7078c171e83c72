"""Reading from a topic: partitions held by lease, redelivery in order, dead letters.

A partition of a topic is read by one consumer of a group at a time, the one that holds its
lease. A consumer that dies loses the lease, and the next holder is first given what the dead one
had in hand, oldest first. So nothing is lost, and events of one key (which share a partition)
are never delivered past one that is still open. Delivery is at least once: an effect that must
happen once is keyed by `Event.id`.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import JsonValue
from redis import Redis, ResponseError

from homeostat.clock import from_iso, utcnow
from homeostat.store.redis import unavailable_named

PREFIX = "homeostat:bus"
#: A consumer that has not read for this long is taken for dead, in seconds.
LEASE_S = 10.0
#: An event that was handed out this often without an ack is a dead letter.
MOST_DELIVERIES = 5
#: How long a waiting reader rests between two looks, in seconds.
_PAUSE_S = 0.02

# The three scripts act on a lease only for the consumer that holds it, which fences off one
# that was paused, lost its lease, and came back.
_HOLD = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
_ACK = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('XACK', KEYS[2], ARGV[3], ARGV[4])
"""


@dataclass(frozen=True)
class Event:
    """One event as it stands on the bus."""

    id: str
    topic: str
    publisher: str
    key: str
    at: datetime
    payload: dict[str, JsonValue]


@dataclass(frozen=True)
class Delivery:
    """One event in a consumer's hand; `attempt` counts from 1."""

    event: Event
    partition: int
    entry_id: str
    attempt: int


def stream(topic: str, partition: int) -> str:
    """Return the key of a partition's stream."""
    return f"{PREFIX}:stream:{topic}:{partition}"


def dead_letters(topic: str) -> str:
    """Return the key of the topic's dead-letter stream."""
    return f"{PREFIX}:dead:{topic}"


def groups(topic: str) -> str:
    """Return the key of the set of the topic's consumer groups."""
    return f"{PREFIX}:groups:{topic}"


def encode(event: Event) -> dict[str, str]:
    """Return the fields of the stream entry of an event."""
    return {
        "id": event.id,
        "publisher": event.publisher,
        "key": event.key,
        "at": event.at.isoformat(),
        "payload": json.dumps(event.payload, separators=(",", ":")),
    }


def decode(topic: str, fields: dict[str, str]) -> Event:
    """Return the event of a stream entry's fields."""
    return Event(
        id=fields["id"],
        topic=topic,
        publisher=fields["publisher"],
        key=fields["key"],
        at=from_iso(fields["at"]),
        payload=json.loads(fields["payload"]),
    )


class Subscription:
    """One consumer of one group on one topic. What `read` returned must be acked before the next
    `read`; what was not is counted as a failed delivery and comes again, before anything newer.
    """

    def __init__(
        self,
        client: Redis,
        topic: str,
        group: str,
        consumer: str,
        *,
        partitions: int,
        lease_s: float = LEASE_S,
    ) -> None:
        self.topic, self.group, self.consumer = topic, group, consumer
        self._client: Any = client  # redis-py types one method for sync and async answers
        self._partitions = partitions
        self._lease_ms = int(lease_s * 1000)
        self._hold = self._client.register_script(_HOLD)
        self._release = self._client.register_script(_RELEASE)
        self._ack = self._client.register_script(_ACK)
        self._made: set[int] = set()

    def read(self, *, count: int = 10, wait_s: float = 0.0) -> list[Delivery]:
        """Return what is to be handled now, open deliveries first.

        Looks again for up to `wait_s` seconds where there is nothing; then an empty list. Raises
        BrokerUnavailableError where the server does not answer.
        """
        deadline = time.monotonic() + wait_s
        while not (taken := self._look(count)) and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
        return taken

    def _look(self, count: int) -> list[Delivery]:
        taken: list[Delivery] = []
        with unavailable_named():
            for partition in self._held():
                self._ensure_group(partition)
                taken += self._open(partition, count) or self._new(partition, count)
        return taken

    def ack(self, delivery: Delivery) -> bool:
        """Say that the event was handled; False where the lease was lost and it comes again."""
        keys = [self._lease(delivery.partition), stream(self.topic, delivery.partition)]
        with unavailable_named():
            done = self._ack(
                keys=keys, args=[self.consumer, self._lease_ms, self.group, delivery.entry_id]
            )
        return bool(done)

    def is_open(self, delivery: Delivery) -> bool:
        """Return whether the event was delivered to the group and not acked yet."""
        entry = delivery.entry_id
        with unavailable_named():
            found = self._client.xpending_range(
                stream(self.topic, delivery.partition), self.group, entry, entry, 1
            )
        return bool(found)

    def close(self) -> None:
        """Give the partitions back, so that the next consumer need not wait for the leases."""
        with unavailable_named():
            for partition in range(self._partitions):
                self._release(keys=[self._lease(partition)], args=[self.consumer])

    def _lease(self, partition: int) -> str:
        return f"{PREFIX}:lease:{self.topic}:{self.group}:{partition}"

    def _held(self) -> list[int]:
        """Take or renew leases up to a fair share of the partitions, and return those held."""
        share = self._fair_share()
        mine: list[int] = []
        holders = self._client.mget([self._lease(one) for one in range(self._partitions)])
        wanted = [one for one, holder in enumerate(holders) if holder == self.consumer]
        wanted += [one for one, holder in enumerate(holders) if holder is None]
        for partition in wanted:
            if len(mine) >= share:
                self._release(keys=[self._lease(partition)], args=[self.consumer])
            elif self._hold(keys=[self._lease(partition)], args=[self.consumer, self._lease_ms]):
                mine.append(partition)
        return mine

    def _fair_share(self) -> int:
        key = f"{PREFIX}:consumers:{self.topic}:{self.group}"
        now = utcnow().timestamp()
        with self._client.pipeline(transaction=False) as pipe:
            pipe.zadd(key, {self.consumer: now})
            pipe.zremrangebyscore(key, "-inf", now - self._lease_ms / 1000)
            pipe.zcard(key)
            alive = int(pipe.execute()[-1])
        return -(-self._partitions // max(alive, 1))

    def _ensure_group(self, partition: int) -> None:
        if partition in self._made:
            return
        try:
            self._client.xgroup_create(
                stream(self.topic, partition), self.group, id="0", mkstream=True
            )
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        self._client.sadd(groups(self.topic), self.group)
        self._made.add(partition)

    def _open(self, partition: int, count: int) -> list[Delivery]:
        """Hand out again what was handed out and not acked, by this consumer or a dead one."""
        key = stream(self.topic, partition)
        _, claimed, gone = self._client.xautoclaim(
            key, self.group, self.consumer, min_idle_time=0, start_id="0-0", count=count
        )
        if gone:  # trimmed away while open; the server has dropped them from the pending list
            self._client.hincrby(f"{PREFIX}:counts", "trimmed_while_open", len(gone))
        if not claimed:
            return []
        attempts = {
            row["message_id"]: int(row["times_delivered"])
            for row in self._client.xpending_range(
                key, self.group, min="-", max="+", count=len(claimed)
            )
        }
        live = []
        for entry_id, fields in claimed:
            attempt = attempts.get(entry_id, 1)
            if attempt > MOST_DELIVERIES:
                bury(self._client, self.topic, partition, self.group, entry_id, fields, attempt - 1)
            else:
                live.append(Delivery(decode(self.topic, fields), partition, entry_id, attempt))
        return live

    def _new(self, partition: int, count: int) -> list[Delivery]:
        key = stream(self.topic, partition)
        answer = self._client.xreadgroup(self.group, self.consumer, {key: ">"}, count=count)
        # The answer is {key: [[entries]]} in one protocol version and [[key, entries]] in another.
        if isinstance(answer, dict):
            entries = [entry for batch in answer.get(key, []) for entry in batch]
        else:
            entries = [entry for _, batch in answer or [] for entry in batch]
        return [
            Delivery(decode(self.topic, fields), partition, entry_id, 1)
            for entry_id, fields in entries
        ]


def bury(
    client: Any,  # as above
    topic: str,
    partition: int,
    group: str,
    entry_id: str,
    fields: dict[str, str],
    attempts: int,
) -> None:
    """Move one event to the dead letters of its topic and ack it, both or neither."""
    with client.pipeline(transaction=True) as pipe:
        pipe.xadd(
            dead_letters(topic),
            {**fields, "group": group, "partition": str(partition), "attempts": str(attempts)},
            maxlen=10_000,
            approximate=True,
        )
        pipe.xack(stream(topic, partition), group, entry_id)
        pipe.hincrby(f"{PREFIX}:counts", "dead_letters", 1)
        pipe.execute()
