"""Every path by which the system changes something by itself, or on a person's word.

A path is a generator: what comes before its first `yield` prepares the scene, what comes after
tries to act, and the last `yield` says whether the world has changed. In between the test puts
another policy in force.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.errors import HomeostatError
from homeostat.incidents import lifecycle
from homeostat.incidents.failure import Failure
from homeostat.incidents.lifecycle import State
from homeostat.incidents.recognition import report
from homeostat.kernels.coding_agent import CodingAgent
from homeostat.repair import refactoring
from homeostat.repair.claims import claim_of
from homeostat.repair.remedy import Cause
from homeostat.repair.tree import digest
from homeostat.settings import settings
from homeostat.store import approvals, controls, plans, track_records
from homeostat.store.beat import BeatEntry
from homeostat.store.database import transaction
from homeostat.store.incidents import Incident
from homeostat.store.plans import Route
from homeostat.store.repair import Repair
from homeostat.store.trading import ModelAlias
from homeostat.supervision import deciding
from homeostat.trading import flow
from homeostat.trading.flow import additions
from homeostat.trading.models.agent import EwmaModel
from homeostat.trading.models.promotion import SHADOW
from tasks import refactor
from tests.component.kernels.test_meta_loop import loop, ran
from tests.component.repair.conftest import begin
from tests.component.repair.test_refactor import BECOMES, CALLER, SOURCE, planted, proof
from tests.component.trading.test_additions import floor_of, small_add
from tests.component.trading.test_flow import opened, permit
from tests.component.trading.test_models import GOOD

Acting = Iterator[bool]
Acts = Callable[[], Acting]

CAUSE = Cause("incident-1:1", "trading.x", "ExchangeDownError", utcnow())
KEY = "r" * 32


def kernel(name: str) -> Any:
    return registry.find(name)


def repository(files: dict[str, str]) -> Path:
    folder = settings().ensure_state_dir() / "repository"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return begin(folder)


def is_paused() -> bool:
    with transaction() as session:
        return controls.is_on(session, controls.TRADING_PAUSED)


def a_remedy_of_an_incident() -> Acting:
    yield False
    kernel("kernels.self_healing").remedy(CAUSE)
    yield is_paused()


def a_remedy_that_was_asked_for() -> Acting:
    with transaction() as session:
        run = kernel("kernels.self_healing").request(
            session, "pause-trading", component="trading.x", asked_by="trading.self_healing"
        )
    yield False
    kernel("kernels.self_healing").carry_out(run)
    yield is_paused()


def a_remedy_that_a_person_approved() -> Acting:
    kernel("kernels.self_healing").remedy(CAUSE)
    with transaction() as session:
        (asked,) = approvals.waiting(session)
    deciding.decide(asked.id, approve=True, by="ada", reason="")
    with transaction() as session:
        kernel("kernels.self_healing").follow_up(session)
    yield False
    kernel("kernels.self_healing").carry_out(asked.subject)
    yield is_paused()


def a_plan() -> Acting:
    failure = Failure.without_frames("WorkerLostError", "It ended.", "worker", "workers.main")
    with transaction() as session:
        incident = report(session, failure, severity="critical")
    yield False
    with transaction() as session:
        incident = session.get_one(Incident, incident.id)
        kernel("kernels.agentic_spine").plan(session, incident)
        made = plans.plan_of(session, incident.id, incident.openings)
    yield made is not None and made.route != Route.PERSON


def a_tuning() -> Acting:
    now = utcnow()
    with transaction() as session:
        entry = loop(session, "checks.slow")
        ran(session, entry, now, seconds=9.0)
    yield False
    with transaction() as session:
        kernel("kernels.meta_loop").run(session, now)
        found = session.get_one(BeatEntry, entry.name, populate_existing=True)
    yield found.interval_s != 10.0


def a_promotion() -> Acting:
    orchestrator = kernel("trading.retraining_orchestrator")
    with transaction() as session:
        challenger = orchestrator.file(session, "ewma", EwmaModel(4, 24, 0.1).content(), GOOD)
        challenger.trained_at -= SHADOW
    yield False
    with transaction() as session:
        kernel("trading.retraining_orchestrator").consider(session, session.merge(challenger))
        yield session.get(ModelAlias, "ewma") is not None


def proven_repair(decision: str) -> Repair:
    """An incident whose patch is proven and waits for a ruling."""
    folder = repository({"shop.py": "x = 1\n"})
    failure = Failure.without_frames("NameError", "x", "task", "shop")
    with transaction() as session:
        incident = report(session, failure)
        lifecycle.transition(session, incident.id, State.ANALYSING, actor="t")
        repair = Repair(
            claim=claim_of(incident), incident_id=incident.id, repository=str(folder),
            command="true", status="proposed", replay_key=KEY,
            changes={"shop.py": "x = 2\n"}, preimages={"shop.py": digest("x = 1\n")},
            story=[], outcome={
                "failure": "NameError: x", "seconds": 1.0,
                "verdict": {"decision": decision, "reason": "it is proven"},
                "fix": {"title": "Mend x", "strategy": "name", "diff": "", "proof": {"steps": []}},
            },
        )  # fmt: skip
        session.add(repair)
        return repair


def pursued(repair: Repair) -> bool:
    agent = kernel("kernels.coding_agent")
    agent.pursue(repair.incident_id, Path(repair.repository), repair.command)
    return mended(repair)


def mended(repair: Repair) -> bool:
    return (Path(repair.repository) / "shop.py").read_text() == "x = 2\n"


def an_evident_fix() -> Acting:
    repair = proven_repair("apply")
    yield False
    yield pursued(repair)


def a_fix_that_was_proven_before() -> Acting:
    repair = proven_repair("ask")
    with transaction() as session:
        for _ in range(9):
            track_records.note(session, "fix.apply", KEY, succeeded=True)
    yield False
    yield pursued(repair)


def a_fix_that_a_person_approves() -> Acting:
    repair = proven_repair("ask")
    pursued(repair)
    yield False
    agent = kernel("kernels.coding_agent")
    assert isinstance(agent, CodingAgent)
    try:
        agent.approve(repair.id, "ada")
    except HomeostatError:
        assert not mended(repair)
    yield mended(repair)


def a_refactoring_that_a_person_approved() -> Acting:
    folder = repository({"source.py": SOURCE, "one.py": CALLER})
    with transaction() as session:
        for number in range(3):
            planted(session, number)
    refactoring.play(folder, proof(), refactor.spend)
    with transaction() as session:
        (asked,) = approvals.waiting(session)
    deciding.decide(asked.id, approve=True, by="ada", reason="")
    yield False
    refactoring.play(folder, proof(), refactor.spend)
    yield BECOMES in (folder / "one.py").read_text()


def an_entry() -> Acting:
    now = utcnow()
    with transaction() as session:
        permit(session, now)
    yield False
    with transaction() as session:
        summary = flow.cycle(session, now, settings())
    assert summary is not None
    yield summary.opened > 0


def an_add() -> Acting:
    now = utcnow()
    with transaction() as session:
        position = opened(session, now)[0]
    yield False
    with transaction() as session:
        position, floor = session.merge(position), floor_of(session, now)
        instrument = floor.listed[position.symbol]
        yield additions.add(floor, position, small_add(position), instrument)


#: Action as the policy names it → the paths that ask for it and act by themselves.
BY_ITSELF: dict[str, list[Acts]] = {
    "remedy.*": [a_remedy_of_an_incident, a_remedy_that_was_asked_for],
    "plan.*": [a_plan],
    "tune.*": [a_tuning],
    "model.promote": [a_promotion],
    "fix.apply_evident": [an_evident_fix],
    "fix.apply": [a_fix_that_was_proven_before],
    "trade.open": [an_entry],
    "trade.add": [an_add],
}
#: The same for those that act on a person's word, given before another policy comes into force.
BY_A_PERSONS_WORD: dict[str, list[Acts]] = {
    "remedy.*": [a_remedy_that_a_person_approved],
    "fix.apply": [a_fix_that_a_person_approves],
    "refactor.apply": [a_refactoring_that_a_person_approved],
}
