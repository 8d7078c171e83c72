"""Faults on the broker and on what travels through it; each needs Redis as the broker."""

from __future__ import annotations

import json
import secrets
from contextlib import closing
from typing import Any

from redis import Redis
from sqlalchemy import select

from homeostat.chaos.faults.fault import Fault, FaultNotPossibleError, Plan
from homeostat.chaos.rollback import Start
from homeostat.chaos.scenario import Proof
from homeostat.store.database import reading
from homeostat.store.jobs import Job
from homeostat.supervision import poison
from homeostat.supervision.poison import QUARANTINE

#: The queue that scenarios work on.
QUEUE = "chaos"
#: How long each job takes that must still wait when the fault strikes, in seconds: asking for one
#: takes some 20 ms, and four children share them.
WORK_S = 0.5


class _RedisFault(Fault):
    def client(self) -> Redis:
        """Return a client of the broker; raises FaultNotPossibleError where it is no Redis."""
        try:
            return poison.connect(self.ground.settings)
        except poison.NoRedisBrokerError as error:
            raise FaultNotPossibleError(str(error)) from error


class LoseData(_RedisFault):
    """Everything that the broker holds is gone, with jobs on their way."""

    def plan(self) -> Plan:
        """Nothing to find: what is lost is asked for at the last moment."""
        return Plan(clues={"jobs": int(str(self.arguments.get("jobs", 50)))})

    def strike(self, plan: Plan) -> None:
        """Put more work on its way than can be done meanwhile, and flush."""
        for _ in range(int(str(plan.clues["jobs"]))):
            plan.key, _told = self.load.submit(work_s=WORK_S)
        with closing(self.client()) as client:
            plan.clues["keys_before"] = int(str(client.dbsize()))
            plan.clues["waiting_before"] = _depth(client)
            client.flushall()

    def happened(self, plan: Plan) -> Proof:
        """There were messages waiting, and they are gone."""
        with closing(self.client()) as client:
            depth = _depth(client)
        before = int(str(plan.clues["waiting_before"]))
        return self.proof(
            "messages were waiting and are gone",
            held=before > 0 and depth < before,
            before=before,
            after=depth,
        )

    def remedied(self, plan: Plan) -> Proof | None:
        """The sweeper has sent jobs again."""
        return _sent_again(self, plan)


class DuplicateDeliveries(_RedisFault):
    """Every waiting message is there three times."""

    def plan(self) -> Plan:
        """Nothing to find: what is copied is asked for at the last moment."""
        return Plan(clues={"jobs": int(str(self.arguments.get("jobs", 30)))})

    def strike(self, plan: Plan) -> None:
        """Put work on its way, and copy each waiting message twice with its own delivery tag."""
        for _ in range(int(str(plan.clues["jobs"]))):
            plan.key, _told = self.load.submit(work_s=WORK_S)
        copied = 0
        with closing(self.client()) as client:
            for name in _lists(client):
                rows: Any = client.lrange(name, 0, -1)
                for raw in rows:
                    for _ in range(2):
                        client.lpush(name, _with_new_tag(raw))
                        copied += 1
        plan.clues["copied"] = copied

    def happened(self, plan: Plan) -> Proof:
        """Messages were copied."""
        copied = int(str(plan.clues["copied"]))
        return self.proof("messages were copied", held=copied > 0, copied=copied)


class PoisonMessage(_RedisFault):
    """A message that no worker can decode."""

    def plan(self) -> Plan:
        """Make a message that can be told from all others."""
        return Plan(clues={"mark": secrets.token_hex(8)}, undo=[Start(process="worker")])

    def strike(self, plan: Plan) -> None:
        """Put it where the workers take from, and look at it before any of them can."""
        message = f"this is no envelope {plan.clues['mark']}"
        with closing(self.client()) as client, client.pipeline(transaction=True) as both:
            both.rpush(QUEUE, message)
            both.lrange(QUEUE, -1, -1)
            plan.clues["put"] = both.execute()[1] == [message.encode()]

    def happened(self, plan: Plan) -> Proof:
        """It lay on the queue; whoever took it since, it was there to be taken."""
        return self.proof("the message was put on the queue", held=bool(plan.clues["put"]))

    def remedied(self, plan: Plan) -> Proof | None:
        """It lies in the quarantine, whole."""
        with closing(self.client()) as client:
            aside = _holds(client, QUARANTINE, str(plan.clues["mark"]))
        return self.proof("the message lies in the quarantine", held=aside)


def _lists(client: Redis) -> list[str]:
    names: Any = client.keys(f"{QUEUE}*")
    return [
        name.decode() for name in names if client.type(name) == b"list" and b"unacked" not in name
    ]


def _depth(client: Redis) -> int:
    return sum(int(str(client.llen(name))) for name in _lists(client))


def _holds(client: Redis, name: str, mark: str) -> bool:
    rows: Any = client.lrange(name, 0, -1)
    return any(mark.encode() in row for row in rows)


def _with_new_tag(raw: bytes) -> str:
    envelope = json.loads(raw)
    envelope["properties"]["delivery_tag"] = secrets.token_hex(16)
    return json.dumps(envelope)


def _sent_again(fault: Fault, plan: Plan) -> Proof:
    with reading() as session:
        statement = select(Job.sends).where(Job.natural_key == plan.key)
        sends = session.scalar(statement) or 0
    return fault.proof("the sweeper sent the jobs again", held=sends > 1, sends=sends)
