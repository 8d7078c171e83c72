from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.errors import BrokerUnavailableError
from homeostat.kernels.message_bus import MessageBus, TopicRefusedError
from homeostat.kernels.message_bus.subscription import MOST_DELIVERIES
from homeostat.store import database, redis
from homeostat.store.embedded import EmbeddedServer
from tests.waiting import wait_until

KEYS = 50

CONSUMER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from homeostat import registry
from homeostat.store import database, redis

bus, client = registry.find("kernels.message_bus"), redis.client()
mine = bus.subscribe("bus.load", "load", sys.argv[1], lease_s=1.5)
once = client.register_script(
    "if redis.call('SET', KEYS[1], 1, 'NX') then redis.call('RPUSH', KEYS[2], ARGV[1]) end"
)
print("ready", flush=True)
while True:
    for one in mine.read(count=20, wait_s=1.0):
        work = [one.event.payload["n"]]
        once(keys=["seen:" + one.event.id, "effects:" + one.event.key], args=work)
        mine.ack(one)
"""


@pytest.fixture
def bus(redis_server: EmbeddedServer) -> MessageBus:
    del redis_server
    found = registry.find("kernels.message_bus")
    assert isinstance(found, MessageBus)
    return found


@pytest.mark.parametrize("events", [2_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_events_survive_two_killed_consumers_in_order_per_key(bus: MessageBus, events: int) -> None:
    consumers = [
        subprocess.Popen([sys.executable, "-c", CONSUMER, f"c{n}"], stdout=subprocess.PIPE)
        for n in range(4)
    ]
    try:
        for consumer in consumers:
            assert consumer.stdout
            assert consumer.stdout.readline() == b"ready\n"
        for number in range(events):
            key = f"k{number % KEYS}"
            bus.publish("bus.load", {"n": number}, publisher="tests.load", key=key)
            if number in {events // 4, events // 2}:
                consumers.pop().send_signal(signal.SIGKILL)

        def seen() -> int:
            return sum(redis.client().llen(f"effects:k{key}") for key in range(KEYS))

        wait_until(lambda: seen() == events, "every event had its effect", 60)
        assert len(consumers) == 2
        wait_until(lambda: bus.lag()["bus.load/load"] == 0, "nothing is left open", 20)
    finally:
        for consumer in consumers:
            consumer.kill()
            consumer.wait()
    for first in range(KEYS):
        effects = [int(n) for n in redis.client().lrange(f"effects:k{first}", 0, -1)]
        assert effects == list(range(first, events, KEYS))


def test_an_event_that_nobody_manages_is_delivered_five_times_and_then_a_dead_letter(
    bus: MessageBus,
) -> None:
    mine = bus.subscribe("bus.load", "poisoned", "one")
    poison = bus.publish("bus.load", {"n": 1}, publisher="tests.load", key="k")
    later = bus.publish("bus.load", {"n": 2}, publisher="tests.load", key="k")
    attempts = []
    for _ in range(MOST_DELIVERIES):
        (only,) = mine.read(count=1)
        assert only.event == poison  # nothing newer of the key passes it
        attempts.append(only.attempt)
    assert attempts == [1, 2, 3, 4, 5]
    following = [one for _ in range(2) for one in mine.read(count=1)]
    assert following[0].event == later
    (dead,) = bus.dead_letters("bus.load")
    assert (dead["event"], dead["attempts"], dead["group"]) == (poison, 5, "poisoned")


def test_a_consumer_that_lost_its_lease_cannot_ack(bus: MessageBus) -> None:
    slow = bus.subscribe("bus.probe", "g", "slow", lease_s=0.05)
    bus.publish("bus.probe", {"nonce": "x"}, publisher="kernels.message_bus")
    (in_hand,) = slow.read()
    heir = bus.subscribe("bus.probe", "g", "heir")
    (taken,) = wait_until(heir.read, "the heir takes the partition over", 5)
    assert taken.event == in_hand.event
    assert taken.attempt == 2
    assert slow.ack(in_hand) is False
    assert heir.ack(taken) is True


@pytest.mark.parametrize(
    ("topic", "payload", "publisher"),
    [
        ("health.changed", {}, "trading.ai_hfos"),
        ("no.such.topic", {}, "kernels.message_bus"),
        ("bus.probe", {}, "kernels.message_bus"),
        ("bus.probe", {"nonce": 7}, "kernels.message_bus"),
    ],
)
def test_what_a_topic_does_not_declare_is_refused_and_counted(
    bus: MessageBus, topic: str, payload: dict[str, int], publisher: str
) -> None:
    with pytest.raises(TopicRefusedError):
        bus.publish(topic, payload, publisher=publisher)
    assert bus.refused() == {publisher: 1}


def test_replay_returns_what_was_published_since_and_survives_a_restart(
    bus: MessageBus, redis_server: EmbeddedServer
) -> None:
    start = utcnow()
    sent = [
        bus.publish("bus.load", {"n": n}, publisher="tests.load", key=f"k{n}") for n in range(20)
    ]
    redis_server.stop()
    with pytest.raises(BrokerUnavailableError, match="homeostat up"):
        bus.replay("bus.load", start)
    redis_server.start()
    assert bus.replay("bus.load", start) == sent
    assert bus.replay("bus.load", utcnow() + timedelta(seconds=1)) == []


def test_the_cycle_keeps_what_a_group_has_not_read(bus: MessageBus) -> None:
    reader = bus.subscribe("bus.probe", "slow", "slow")
    assert reader.read() == []
    key = "homeostat:bus:stream:bus.probe:0"
    client: Any = redis.client()
    old = {"id": "1", "publisher": "p", "key": "", "at": utcnow().isoformat(), "payload": "{}"}
    client.xadd(key, old, id="1-1")  # published in 1970: far older than is kept
    client.xadd(key, old, id="1-2")
    bus.run(None, utcnow())  # type: ignore[arg-type]  # the bus needs no database
    (first,) = reader.read(count=1)
    reader.ack(first)
    bus.run(None, utcnow())  # type: ignore[arg-type]  # as above
    kept = [entry for entry, _ in client.xrange(key)]
    assert kept == ["1-1", "1-2"]  # the horizon is the last one delivered
    (second,) = reader.read(count=1)
    assert second.entry_id == "1-2"


def test_probes_side_by_side_do_not_count_each_other_s_events(bus: MessageBus) -> None:
    with ThreadPoolExecutor(8) as pool, database.reading() as session:
        seen = list(pool.map(lambda _: bus.probe(session), range(40)))

    assert [evidence.observed for evidence in seen if not evidence.passed] == []
