"""What is seen of a fix after it was applied, and what that says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import pytest

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.incidents import lifecycle
from homeostat.incidents.failure import Failure, Source
from homeostat.incidents.lifecycle import State
from homeostat.incidents.raised import Frame, Raised
from homeostat.incidents.recognition import report
from homeostat.incidents.recovery import healthy_run
from homeostat.repair import pickup, watch
from homeostat.repair.watch import Sight
from homeostat.store import database
from homeostat.store.beat import SHIPPED, BeatEntry
from homeostat.store.checks import CheckRun, lease_of
from homeostat.store.incidents import Incident
from homeostat.store.repair import Repair
from homeostat.supervision import renewal
from homeostat.supervision.renewal import Revision
from tests.component.repair.live_scenes import strike

pytestmark = pytest.mark.usefixtures("sqlite_store")

MINUTE = timedelta(minutes=1)


def applied(
    component: str = "shop.sell",
    ago: timedelta = MINUTE,
    seen: Mapping[str, str] = MappingProxyType({}),
) -> Repair:
    """A fix of a new incident that was applied a minute ago and taken up at once."""
    incident = strike(component)
    at = utcnow() - ago
    with database.transaction() as session:
        session.get_one(Incident, incident.id).last_seen_at = at - MINUTE
        for state in (State.ANALYSING, State.APPLYING, State.VERIFYING):
            lifecycle.transition(session, incident.id, state, actor="test")
        repair = Repair(
            claim=f"{incident.id}:1", incident_id=incident.id, repository="/nowhere",
            command="python -m pytest", status="applied", commit="abc", outcome={},
            changes={"src/shop/prices.py": ""}, preimages={}, story=[], applied_at=at,
            watch={"replay": "", "behind": "", **seen},
        )  # fmt: skip
        session.add(repair)
        session.flush()
        pickup.note(session, Revision("abc", at), "worker@here")
        [taken_up] = repair.watch["taken_up"]
        repair.watch = {**repair.watch, "taken_up": [{**taken_up, "at": at.isoformat()}]}
    return repair


def look(repair: Repair, now: datetime | None = None) -> Sight:
    with database.reading() as session:
        incident = lifecycle.find(session, repair.incident_id)
        return watch.look(session, session.get_one(Repair, repair.id), incident, now or utcnow())


def checked(component: str, *, passed: bool, ago: timedelta = timedelta()) -> None:
    """A check of the component, which is due each 10 s, came out so."""
    at = utcnow() - ago
    with database.transaction() as session:
        session.merge(
            BeatEntry(name=component, task=f"checks.{component}", interval_s=10.0,
                      declared_s=10.0, source=SHIPPED)
        )  # fmt: skip
        session.add(
            CheckRun(entry=component, component=component, due_at=at, started_at=at,
                     ended_at=at, passed=passed, evidence={}, worker="test")
        )  # fmt: skip


def test_a_probe_that_passed_with_the_new_code_proves_it() -> None:
    repair = applied("kernels.shop")
    assert look(repair).stands is None
    checked("kernels.shop", passed=True)
    assert look(repair) == Sight(True, "the probe of kernels.shop passed", look(repair).seen)


def test_a_probe_that_failed_with_the_new_code_fells_it() -> None:
    repair = applied("kernels.shop")
    checked("kernels.shop", passed=False)
    assert look(repair).stands is False


def test_a_run_of_the_task_that_did_not_fail_proves_it() -> None:
    repair = applied(ago=timedelta(seconds=5))
    assert look(repair).stands is None
    with database.transaction() as session:
        assert healthy_run(session, "shop.sell") == [], "the watch ends the incident, not luck"
    assert look(repair).stands is True


def test_a_task_that_was_not_asked_for_stands_on_its_command_alone_and_says_so() -> None:
    repair = applied(ago=timedelta(seconds=5))
    sight = look(repair, utcnow() + 2 * MINUTE)
    assert (sight.stands, sight.seen) == (True, {"task_ran": False})


def test_a_component_without_a_passed_probe_within_its_interval_fells_it() -> None:
    repair = applied("kernels.shop", ago=timedelta(seconds=5))
    with database.transaction() as session:
        session.add(
            BeatEntry(name="kernels.shop", task="checks.kernels.shop", interval_s=10.0,
                      declared_s=10.0, source=SHIPPED)
        )  # fmt: skip
    assert look(repair).stands is None
    late = look(repair, utcnow() + MINUTE)
    assert (late.stands, "within one interval" in late.reason) == (False, True)


@pytest.mark.parametrize("seen", [{"replay": "it still fails"}, {"behind": "a test broke"}])
def test_a_command_or_a_test_that_fails_now_fells_it(seen: dict[str, str]) -> None:
    sight = look(applied(seen=seen))
    assert (sight.stands, sight.reason) == (False, next(iter(seen.values())))


def test_runs_of_the_old_code_prove_nothing() -> None:
    repair = applied(ago=timedelta(seconds=1))
    with database.transaction() as session:
        healthy_run(session, "shop.sell")
        pickup.note(session, Revision("abc", utcnow()), "another@here")
    late = utcnow() + timedelta(seconds=5)
    assert look(repair, late).stands is None


def test_while_a_worker_still_runs_the_old_code_nothing_is_said_for_two_minutes(
    tmp_path: Path,
) -> None:
    repair = applied()
    (tmp_path / ".git").mkdir()
    renewal.Renewal([tmp_path / ".git"], utcnow() - 2 * MINUTE).start()
    with database.transaction() as session:
        row = session.get_one(Repair, repair.id)
        row.repository = str(tmp_path)
        row.watch = {**row.watch, "landed_at": (utcnow() - MINUTE).isoformat()}
    strike()
    assert look(repair) == Sight(None, "the old code still runs")
    assert look(repair, utcnow() + 2 * MINUTE).stands is False


def test_code_that_a_worker_cannot_load_fells_it(tmp_path: Path) -> None:
    repair = applied()
    (tmp_path / ".git").mkdir()
    told = {"commit": "abc", "why": "process 7 cannot load the new code"}
    (tmp_path / ".git" / renewal.REFUSED).write_text(json.dumps(told))
    with database.transaction() as session:
        session.get_one(Repair, repair.id).repository = str(tmp_path)
    assert look(repair) == Sight(False, told["why"])


def test_the_failure_that_comes_back_fells_it() -> None:
    repair = applied()
    strike()
    assert "came back" in look(repair).reason


def test_a_failure_of_the_old_code_still_at_work_fells_nothing() -> None:
    repair = applied(ago=timedelta(seconds=1))
    strike()
    assert look(repair).stands is None


@pytest.mark.parametrize(
    ("component", "module", "source", "falls"),
    [
        ("elsewhere", "shop.prices", Source.TASK, True),
        ("shop.sell", "shop.orders", Source.TASK, True),
        ("elsewhere", "shop.orders", Source.TASK, False),
        ("shop.sell", "shop.orders", Source.TRIGGER, False),
    ],
    ids=["in the changed file", "in the component", "elsewhere", "an echo"],
)
def test_something_new_that_breaks_fells_it(
    component: str, module: str, source: Source, *, falls: bool
) -> None:
    repair = applied()
    frame = Frame(module, "other", "shop.py", 1, "other()", True)
    failure = Failure(source, component, component, (Raised("KeyError", "'x'", (frame,)),))
    with database.transaction() as session:
        report(session, failure)
    assert (look(repair).stands is False) is falls


@pytest.mark.parametrize("again", [True, False], ids=["seen again", "not seen again"])
def test_what_broke_while_the_fix_was_being_taken_up_fells_it_where_it_goes_on(
    *, again: bool
) -> None:
    repair = applied(ago=timedelta(seconds=30))
    with database.transaction() as session:
        row = session.get_one(Repair, repair.id)
        row.watch = {**row.watch, "landed_at": (utcnow() - MINUTE).isoformat()}
    frame = Frame("shop.prices", "other", "shop.py", 1, "other()", True)
    chain = (Raised("KeyError", "'x'", (frame,)),)
    failure = Failure(Source.TASK, "elsewhere", "elsewhere", chain)
    with database.transaction() as session:
        found = report(session, failure)
        # The first worker had the new code already, the last one not.
        early = utcnow() - timedelta(seconds=45)
        found.opened_at = found.first_seen_at = early
        found.last_seen_at = utcnow() if again else early
    assert (look(repair).stands is False) is again


@pytest.fixture
def neighbour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repair]:
    """A fix in a repository from which a component is plugged in that is probed each 10 s."""
    info = tmp_path / "scale-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: scale\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[homeostat.components]\nscale = scale:Scale\n")
    (tmp_path / "scale.py").write_text("raise RuntimeError('never imported here')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._plugins.cache_clear()
    repair = applied(ago=timedelta(seconds=5))
    with database.transaction() as session:
        session.get_one(Repair, repair.id).repository = str(tmp_path)
        healthy_run(session, "shop.sell")
    yield repair
    registry._plugins.cache_clear()


def test_another_component_of_the_repository_is_waited_for(neighbour: Repair) -> None:
    checked("plugins.scale", passed=True, ago=MINUTE)
    assert look(neighbour) == Sight(None, "plugins.scale was not probed with the new code yet")
    assert look(neighbour, utcnow() + MINUTE).stands is True, "no longer than its interval"
    checked("plugins.scale", passed=True)
    assert look(neighbour).stands is True


@pytest.mark.parametrize("passed_before", [True, False])
def test_its_probe_that_fails_with_the_new_code_fells_it_if_it_passed_before(
    neighbour: Repair, *, passed_before: bool
) -> None:
    checked("plugins.scale", passed=passed_before, ago=MINUTE)
    checked("plugins.scale", passed=False)
    assert (look(neighbour).stands is False) is passed_before


@pytest.mark.parametrize("passed_before", [True, False])
def test_a_boot_before_the_fix_counts_where_no_tick_came_between(
    neighbour: Repair, *, passed_before: bool
) -> None:
    with database.transaction() as session:
        lease = lease_of(session, "plugins.scale")
        lease.renewed_at = utcnow() - MINUTE if passed_before else None
    checked("plugins.scale", passed=False)
    assert (look(neighbour).stands is False) is passed_before


def test_a_component_from_elsewhere_is_none_of_its_business(neighbour: Repair) -> None:
    with database.transaction() as session:
        session.get_one(Repair, neighbour.id).repository = "/nowhere"
    checked("plugins.scale", passed=True, ago=MINUTE)
    checked("plugins.scale", passed=False)
    assert look(neighbour).stands is True
