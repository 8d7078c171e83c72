"""Events of the outbox: told after the commit, not lost while the bus is away, heard once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import new_id, utcnow
from homeostat.errors import BrokerUnavailableError
from homeostat.kernels.message_bus import TopicRefusedError, topics
from homeostat.kernels.message_bus.subscription import Event
from homeostat.settings import settings
from homeostat.store import beat, database
from homeostat.store.beat import BeatEntry
from homeostat.store.embedded import EmbeddedServer
from homeostat.store.jobs import Job
from homeostat.supervision import events, live
from homeostat.supervision.events import PUBLISH
from tasks.upkeep import publish
from tests.kernels_page import ROOT

SUBJECT: dict[str, JsonValue] = {"subject": "playbook:x", "trusted": False, "mean": 0.1}
LEARNER = "kernels.learning_integration"


@pytest.fixture
def server(sqlite_store: str) -> Iterator[EmbeddedServer]:
    del sqlite_store
    with EmbeddedServer(settings()) as running:
        yield running


def kernel(name: str) -> Any:
    return registry.find(f"kernels.{name}")


def waiting() -> list[Job]:
    with database.reading() as session:
        statement = select(Job).where(Job.task == PUBLISH, Job.state.in_(("pending", "sent")))
        return list(session.scalars(statement))


def work_off() -> None:
    """Do what a worker does with the outbox."""
    for job in waiting():
        publish(**job.kwargs, job_id=job.id)


def on_the_bus() -> list[Event]:
    found: list[Event] = kernel("message_bus").happened(utcnow().replace(year=2000))
    return found


def tell_trust(session: Session) -> None:
    events.tell(session, "trust.changed", SUBJECT, publisher=LEARNER)


def test_an_event_is_told_after_the_commit_and_once(server: EmbeddedServer) -> None:
    del server
    with database.transaction() as session:
        tell_trust(session)
        assert on_the_bus() == []
    (job,) = waiting()
    work_off()
    publish(**job.kwargs, job_id=job.id)
    (event,) = on_the_bus()
    assert (event.id, event.publisher, event.payload) == (job.id, LEARNER, SUBJECT)


def test_what_is_rolled_back_is_never_told(server: EmbeddedServer) -> None:
    del server
    with pytest.raises(RuntimeError), database.transaction() as session:  # noqa: PT012  # work, then fail
        tell_trust(session)
        raise RuntimeError
    with database.transaction() as session:
        with events.undone(session):
            tell_trust(session)
        assert session.info.get("jobs_to_send", []) == []
    assert waiting() == []


def test_a_bus_that_is_away_loses_nothing(sqlite_store: str) -> None:
    del sqlite_store
    with database.transaction() as session:
        tell_trust(session)
    (job,) = waiting()
    with pytest.raises(BrokerUnavailableError):
        publish(**job.kwargs, job_id=job.id)
    with EmbeddedServer(settings()):
        work_off()
        assert [event.id for event in on_the_bus()] == [job.id]
    assert waiting() == []


def test_a_kernel_cannot_tell_what_is_another_s(server: EmbeddedServer) -> None:
    del server
    with database.transaction() as session:
        events.tell(session, "trust.changed", SUBJECT, publisher="kernels.librarian")
    with pytest.raises(TopicRefusedError):
        work_off()
    assert on_the_bus() == []


def test_the_live_page_hears_each_event_once_and_nothing_while_the_bus_is_away(
    sqlite_store: str,
) -> None:
    del sqlite_store
    ear = live.Ear()
    assert asyncio.run(ear.hear()) == []
    with EmbeddedServer(settings()):
        with database.transaction() as session:
            tell_trust(session)
        work_off()
        assert [event.topic for event in asyncio.run(ear.hear())] == ["trust.changed"]
        assert asyncio.run(ear.hear()) == []


# What each acting kernel tells.


def _remedy(session: Session) -> None:
    session.rollback()  # a remedy has transactions of its own
    kernel("self_healing").remedy(_cause())


def _cause() -> Any:
    from homeostat.repair.remedy import Cause

    return Cause("incident-1:1", "trading.x", "ExchangeDownError", utcnow())


def _approval(session: Session) -> None:
    governance = kernel("governance")
    asked = governance.request(
        session, action="refactor.apply", subject=new_id(), risk="low", actor="t", plan="p"
    )
    governance.approve(session, asked.id, by="ada")


def _quarantine(session: Session) -> None:
    kernel("clarity_framework").note(session, "x.y", successes=0, failures=9, now=utcnow())


def _interval(session: Session) -> None:
    entry = BeatEntry(name="x", task="t", interval_s=10.0, declared_s=10.0, source=beat.ADDED)
    session.add(entry)
    kernel("scheduler").set_interval(session, "x", 20.0, actor="t")


ACTS: dict[str, tuple[Callable[[Session], None], set[str]]] = {
    "kernels.self_healing": (_remedy, {"remedy.ended"}),
    "kernels.governance": (_approval, {"approval.requested", "approval.decided"}),
    "kernels.clarity_framework": (_quarantine, {"quarantine.changed"}),
    "kernels.scheduler": (_interval, {"scheduler.changed"}),
    LEARNER: (
        lambda session: kernel("learning_integration").learn(session, {"fix:x": (0, 30)}),
        {"trust.changed"},
    ),
    "kernels.librarian": (
        lambda session: kernel("librarian").run(session, utcnow()),
        {"library.changed"},
    ),
}


@pytest.mark.parametrize("actor", ACTS)
def test_an_act_is_told_by_the_kernel_that_did_it(server: EmbeddedServer, actor: str) -> None:
    del server
    act, wanted = ACTS[actor]
    with database.transaction() as session:
        act(session)
    work_off()
    told = {event.topic for event in on_the_bus() if event.publisher == actor}
    assert told == wanted


@pytest.mark.parametrize("name", ["governance", "clarity_framework", "agentic_spine", "meta_loop"])
def test_a_probe_tells_nothing(server: EmbeddedServer, name: str) -> None:
    del server
    with database.transaction() as session:
        kernel(name).probe(session)
        assert session.info.get("jobs_to_send", []) == []
    assert waiting() == []


def test_every_topic_has_somebody_who_tells_it() -> None:
    source = "".join(
        path.read_text("utf-8")
        for room in ("homeostat", "tasks", "workers")
        for path in (ROOT / room).rglob("*.py")
    )
    untold = [name for name in topics.declared() if f'"{name}"' not in source]
    assert untold == ["bus.load"], "declared and told by nobody (bus.load is the benchmarks')"
