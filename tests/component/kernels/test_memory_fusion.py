from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.incidents import lifecycle
from homeostat.incidents.failure import Failure
from homeostat.incidents.lifecycle import State
from homeostat.incidents.recognition import report
from homeostat.kernels.memory_fusion import MemoryFusion, Recollection, Source, likeness
from homeostat.store import audit, memories
from homeostat.store.database import transaction
from homeostat.store.memories import Memory
from homeostat.store.remedies import RemedyRun, RunState
from homeostat.store.repair import Repair
from homeostat.testing import check_contract

#: What happened, and how somebody would ask for it in other words. The words of the questions
#: were written without looking at how likeness is computed; many share words with several.
LABELLED = [
    (
        "TypeError append() got an unexpected keyword argument 'subsystem' in immutable_log",
        "append unexpected argument subsystem",
    ),
    (
        "ImportError cannot import name 'async_session' from app.models",
        "import async_session fails models",
    ),
    ("ModuleNotFoundError No module named 'talib' in trading.signals", "talib module missing"),
    (
        "ConnectionError Redis connection refused on port 6379 by message_bus",
        "redis refuses connections",
    ),
    (
        "OperationalError database is locked while check_runs was written",
        "sqlite database locked on write",
    ),
    (
        "StoreUnavailableError PostgreSQL server closed the connection unexpectedly",
        "postgresql closed connection",
    ),
    ("WorkerLostError The process worker ended unasked by SIGKILL", "worker killed sigkill"),
    (
        "HeartbeatGapError The worker fix lives and gave no heartbeat for 40 s",
        "no heartbeat from fix worker",
    ),
    ("BeatLostError The process beat ended unasked", "beat process died"),
    (
        "SoftTimeLimitExceeded task trade.cycle ran longer than 60 s",
        "trade cycle too slow time limit",
    ),
    (
        "ProbeFailedError kernels.sandbox escaped its network isolation",
        "sandbox network escape probe",
    ),
    ("ValueError shapes (30,) and (50,) not aligned in ai_hfos", "array shape mismatch hfos"),
    ("KeyError 'atr' missing in telemetry of position_intelligence", "telemetry lacks atr field"),
    (
        "AttributeError 'NoneType' object has no attribute 'price' in dynamic_tpsl",
        "none has no price tpsl",
    ),
    ("ExchangeRateLimit 429 Too Many Requests Retry-After 30", "exchange rate limit 429"),
    ("StaleMarketData candles of BTCUSDT are 900 s old", "old candles bitcoin stale"),
    (
        "ModelIntegrityError sha256 of lightgbm artefact does not match",
        "model artefact hash does not match",
    ),
    ("DiskFull No space left on device while writing snapshot", "no space left disk snapshot"),
    (
        "SyntaxError invalid syntax in profit_amplification line 12",
        "syntax invalid profit amplification",
    ),
    (
        "RecursionError maximum recursion depth exceeded in portfolio_balancer",
        "recursion depth balancer",
    ),
    (
        "CircularImport partially initialized module governance, most likely a circular import",
        "circular import governance",
    ),
    ("SecretLeak password written to log by secret_manager", "password in the log"),
    (
        "ConfigDrift worker_concurrency differs from the last good snapshot",
        "configuration drift concurrency",
    ),
    ("ChainBroken audit row 512 does not match its hash", "audit chain broken row hash"),
    ("MissedTick universe_os was due and did not run", "universe_os tick missed"),
]


pytestmark = pytest.mark.usefixtures("sqlite_store")


@pytest.fixture
def memory() -> MemoryFusion:
    found = registry.find("kernels.memory_fusion")
    assert isinstance(found, MemoryFusion)
    return found


def source(number: int, text: str, *, signature: str = "", outcome: str = "") -> Source:
    return Source(f"t:{number}", "incident", signature or f"sig-{number}", text, outcome, utcnow())


@pytest.mark.usefixtures("store")
def test_it_keeps_the_contract(memory: MemoryFusion) -> None:
    with transaction() as session:
        check_contract(memory, session)


@pytest.mark.usefixtures("store")
def test_what_is_asked_for_in_other_words_is_among_the_first_five(memory: MemoryFusion) -> None:
    with transaction() as session:
        for number, (text, _) in enumerate(LABELLED):
            memory.remember(session, source(number, text))
        found = [
            any(r.memory.signature == f"sig-{number}" for r in memory.recall(session, question))
            for number, (_, question) in enumerate(LABELLED)
        ]
    assert sum(found) / len(found) >= 0.9


def test_a_question_about_nothing_that_happened_recalls_nothing(memory: MemoryFusion) -> None:
    with transaction() as session:
        memory.remember(session, source(1, LABELLED[0][0]))
        assert memory.recall(session, "xylophone quartet") == []


def test_the_same_signature_comes_first_whatever_its_words(memory: MemoryFusion) -> None:
    with transaction() as session:
        memory.remember(session, source(1, "the valve is stuck", signature="other"))
        memory.remember(session, source(2, "something else entirely", signature="wanted"))
        first = memory.recall(session, "the valve is stuck", signature="wanted")[0]
    assert first.memory.signature == "wanted"


@pytest.mark.usefixtures("store")
def test_what_happened_again_is_one_memory_with_all_its_sources(memory: MemoryFusion) -> None:
    with transaction() as session:
        for number in range(3):
            memory.remember(session, source(number, "same", signature="s", outcome="worked"))
        assert memory.remember(session, source(1, "same", signature="s")) is None
        one = session.scalars(select(Memory)).one()
        assert (one.times, one.worked) == (3, 3)
        assert memory.sources_of(session, one.id) == ["t:0", "t:1", "t:2"]


@pytest.mark.usefixtures("store")
def test_a_cycle_takes_in_what_ended_and_takes_it_in_once(memory: MemoryFusion) -> None:
    with transaction() as session:
        failure = Failure.without_frames("FooError", "it broke", "worker", "workers.main")
        incident = report(session, failure)
        lifecycle.transition(session, incident.id, State.ESCALATED, actor="test")
        run = RemedyRun(playbook="reconnect", component="x", cause="c", state=RunState.VERIFIED)
        session.add(run)
        repair = Repair(repository="r", command="pytest", status="applied", group_key="g")
        repair.outcome, repair.changes, repair.preimages, repair.story = {}, {}, {}, []
        session.add(repair)
        session.flush()
        wanted = {
            f"incidents:{incident.id}:escalated",
            f"remedy_runs:{run.id}",
            f"repairs:{repair.id}:applied",
        }
        assert memory.run(session, utcnow()).observed["taken_in"] == len(wanted)
        assert memory.run(session, utcnow()).observed["taken_in"] == 0
        taken = set(session.scalars(select(memories.Provenance.source)))
    assert taken == wanted


def test_an_applied_fix_has_not_worked_before_its_watch_is_over(memory: MemoryFusion) -> None:
    with transaction() as session:
        repair = Repair(
            repository="r", command="pytest", status="applied", group_key="g", incident_id="i",
            outcome={}, changes={}, preimages={}, story=[], watch={"replay": ""},
        )  # fmt: skip
        session.add(repair)
        session.flush()
        assert memory.run(session, utcnow()).observed["taken_in"] == 0
        repair.watch = {**repair.watch, "ended": {"how": "stands"}}
        session.flush()
        assert memory.run(session, utcnow()).observed["taken_in"] == 1
        assert session.scalars(select(Memory)).one().worked == 1


def test_old_memories_are_forgotten_but_not_what_worked(memory: MemoryFusion) -> None:
    later = utcnow() + timedelta(days=400)
    with transaction() as session:
        memory.remember(session, source(1, "it failed", signature="a", outcome="failed"))
        memory.remember(session, source(2, "it worked", signature="b", outcome="worked"))
        assert memory.run(session, later).observed["forgotten"] == 1
        assert [m.signature for m in session.scalars(select(Memory))] == ["b"]
        assert memory.recall(session, "failed") == []
        assert [row.action for row in audit.rows_after(session, 0)] == ["memory.forgotten"]


def test_likeness_is_one_for_the_same_and_zero_for_nothing_shared() -> None:
    assert likeness("a valve", "a valve") == pytest.approx(1.0)
    assert likeness("a valve", "one pump") == 0.0
    assert likeness("", "one pump") == 0.0


class Forgetful(MemoryFusion):
    def remember(self, session: object, source: Source) -> None:
        """Do nothing, and say nothing of it."""
        del session, source


class OfOneMind(MemoryFusion):
    def recall(self, *_given: object, **_more: object) -> list[Recollection]:
        """Recall nothing, ever."""
        return []


@pytest.mark.parametrize("kind", [Forgetful, OfOneMind])
def test_a_memory_that_does_not_remember_fails_its_probe(
    memory: MemoryFusion, kind: type[MemoryFusion]
) -> None:
    with transaction() as session:
        assert not kind(memory.context).probe(session).passed
