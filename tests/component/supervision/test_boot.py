from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.component import (
    Component,
    ComponentSpec,
    CycleResult,
    Evidence,
    State,
    Wing,
)  # fmt: skip
from homeostat.errors import StoreUnavailableError
from homeostat.incidents import spool
from homeostat.registry import LoadFailure
from homeostat.settings import settings
from homeostat.store import checks, database
from homeostat.store.beat import BeatEntry
from homeostat.store.incidents import Incident
from homeostat.supervision import boot as boot_module
from homeostat.supervision.boot import boot
from homeostat.supervision.boot_report import BootReport, BootRow
from tests.conftest import forget_settings

Verb = Callable[[Component, Session], Evidence]


def well(component: Component, _session: Session) -> Evidence:
    return Evidence(claim="it works", passed=True, observed={"name": component.spec.name})


def part(
    name: str,
    *,
    tier: int = 0,
    needs: tuple[str, ...] = (),
    probe: Verb = well,
    timeout_s: float = 5,
) -> type[Component]:
    class Part(Component):
        spec: ClassVar[ComponentSpec] = ComponentSpec(
            name=name, wing=Wing.KERNELS, tier=tier, summary="A part.",
            needs=tuple(f"kernels.{one}" for one in needs), timeout_s=timeout_s,
        )  # fmt: skip

        def probe(self, session: Session) -> Evidence:
            return probe(self, session)

        def run(self, session: Session, due_at: datetime) -> CycleResult:
            del session, due_at
            return CycleResult(work=1, observed={"ran": True})

    return Part


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Callable[..., BootReport]:
    """Boot a house of these parts only."""

    def booted(*parts: type[Component] | LoadFailure) -> BootReport:
        found = {
            one.name if isinstance(one, LoadFailure) else one.spec.full_name: one for one in parts
        }
        monkeypatch.setattr(registry, "load_all", lambda: iter(found.items()))
        monkeypatch.setattr(registry, "load", lambda name: found[name])
        registry.find.cache_clear()
        return boot()

    return booted


def rows(report: BootReport) -> dict[str, BootRow]:
    return {row.name.removeprefix("kernels."): row for row in report.components}


def broken(component: Component, session: Session) -> Evidence:
    del component, session
    raise ValueError("the part is broken")


def test_a_part_that_fails_becomes_an_incident_its_dependants_are_degraded_the_rest_runs(
    house: Callable[..., BootReport],
) -> None:
    report = house(
        part("base", probe=broken),
        part("child", tier=1, needs=("base",)),
        part("grandchild", tier=2, needs=("child",)),
        part("other", tier=1),
    )
    found = rows(report)
    assert {name: row.state for name, row in found.items()} == {
        "base": State.FAILED,
        "child": State.DEGRADED,
        "grandchild": State.RUNNING,
        "other": State.RUNNING,
    }
    assert (report.running, report.total) == (2, 4)
    assert found["base"].tries == 3
    assert "ValueError: the part is broken" in found["base"].error
    assert "needs kernels.base, which is FAILED" in found["child"].error
    with database.reading() as session:
        (incident,) = session.scalars(select(Incident)).all()
        assert (incident.component, incident.source) == ("kernels.base", "boot")
        assert incident.id == found["base"].incident
        assert checks.leases(session)["kernels.other"].renewed_at is not None


KERNELS = {
    name.removeprefix("kernels."): spec
    for name, spec in registry.specs().items()
    if name.startswith("kernels.")
}


@pytest.mark.parametrize("killed", KERNELS)
def test_whichever_kernel_cannot_boot_its_dependants_are_degraded_and_the_rest_runs(
    house: Callable[..., BootReport], killed: str
) -> None:
    """The twenty as they declare themselves: their tiers, and who needs whom."""
    report = house(
        *(
            part(
                name, tier=spec.tier, probe=broken if name == killed else well,
                needs=tuple(need.removeprefix("kernels.") for need in spec.needs),
            )
            for name, spec in KERNELS.items()
        )
    )  # fmt: skip
    found = rows(report)
    assert found.pop(killed).state is State.FAILED
    for name, row in found.items():
        needs_it = f"kernels.{killed}" in KERNELS[name].needs
        assert row.state is (State.DEGRADED if needs_it else State.RUNNING), name
        assert (f"needs kernels.{killed}, which is FAILED" in row.error) is needs_it, row.error


def test_a_boot_that_fails_while_the_store_is_away_is_an_incident_when_it_is_back(
    house: Callable[..., BootReport], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    database.migrate()
    store = settings().database

    def store_goes(component: Component, session: Session) -> Evidence:
        monkeypatch.setenv("HOMEOSTAT_DATABASE_URL", f"sqlite:///{tmp_path}/no such folder/x")
        forget_settings()
        return broken(component, session)

    (row,) = house(part("base", probe=store_goes)).components
    assert (row.state, row.incident) == (State.FAILED, None)
    monkeypatch.setenv("HOMEOSTAT_DATABASE_URL", store)
    forget_settings()
    assert spool.take_in(database.transaction) == 1
    with database.reading() as session:
        (incident,) = session.scalars(select(Incident)).all()
    assert (incident.component, incident.source) == ("kernels.base", "boot")
    assert incident.occurrences == 1


def test_a_child_that_fails_because_its_need_failed_is_no_incident_of_its_own(
    house: Callable[..., BootReport],
) -> None:
    found = rows(
        house(part("base", probe=broken), part("child", tier=1, needs=("base",), probe=broken))
    )
    assert found["child"].state is State.DEGRADED
    assert found["child"].tries == 1
    with database.reading() as session:
        assert len(session.scalars(select(Incident)).all()) == 1


def test_a_part_that_comes_up_at_the_third_try_is_running(
    house: Callable[..., BootReport],
) -> None:
    tries: list[int] = []

    def third_time(component: Component, session: Session) -> Evidence:
        tries.append(1)
        return well(component, session) if len(tries) == 3 else broken(component, session)

    row = rows(house(part("slow", probe=third_time)))["slow"]
    assert (row.state, row.tries) == (State.RUNNING, 3)


def test_a_part_that_hangs_fails_by_its_time_out_and_holds_nobody_up(
    house: Callable[..., BootReport],
) -> None:
    import threading

    released = threading.Event()

    def hang(component: Component, session: Session) -> Evidence:
        released.wait(60)
        return well(component, session)

    try:
        report = house(part("hangs", probe=hang, timeout_s=0.2), part("other"))
    finally:
        released.set()
    found = rows(report)
    assert found["hangs"].state is State.FAILED
    assert "did not boot within" in found["hangs"].error
    assert found["other"].state is State.RUNNING
    assert report.seconds < 10


@pytest.mark.parametrize("observed", [{}, {"seen": False}])
def test_a_part_that_claims_without_evidence_is_not_running(
    house: Callable[..., BootReport], observed: dict[str, bool]
) -> None:
    def claims(_component: Component, _session: Session) -> Evidence:
        return Evidence(claim="c", passed=not observed, observed=dict(observed))

    assert rows(house(part("claims", probe=claims)))["claims"].state is State.FAILED


def test_every_part_may_begin_early_and_proves_itself_in_its_turn(
    house: Callable[..., BootReport],
) -> None:
    told = []

    def begins(self: Component) -> None:
        told.append(f"{self.spec.name} begins")
        if self.spec.name == "clumsy":
            raise OSError("nothing can be started here")

    def proves(component: Component, session: Session) -> Evidence:
        told.append(f"{component.spec.name} boots")
        return well(component, session)

    parts = [part("first", probe=proves), part("clumsy", tier=1, probe=proves)]
    for one in parts:
        one.prepare = begins  # type: ignore[method-assign]  # the part of this test
    report = house(*parts)
    assert told == ["first begins", "clumsy begins", "first boots", "clumsy boots"]
    assert report.running == 2, "what could not be begun early is not failed for that"


def test_a_module_that_cannot_be_imported_is_a_failed_boot_named_to_its_dependants(
    house: Callable[..., BootReport],
) -> None:
    error = ImportError("cannot import name 'async_session'")
    found = rows(house(LoadFailure("kernels.gone", error), part("child", needs=("gone",))))
    assert found["gone"].state is State.FAILED
    assert "async_session" in found["gone"].error
    assert found["gone"].incident is not None
    assert "needs kernels.gone, which is FAILED" in found["child"].error


def test_a_circle_is_named_and_a_failed_need_is_not_called_one(
    house: Callable[..., BootReport],
) -> None:
    found = rows(house(part("a", needs=("b",)), part("b", needs=("a",)), part("c")))
    assert found["a"].state is State.FAILED
    assert "needs itself" in found["a"].error
    assert found["c"].state is State.RUNNING


def test_needs_within_a_tier_boot_in_their_order(house: Callable[..., BootReport]) -> None:
    order: list[str] = []

    def noted(component: Component, session: Session) -> Evidence:
        order.append(component.spec.name)
        return well(component, session)

    house(
        part("z", probe=noted, needs=("y",)),
        part("y", probe=noted, needs=("x",)),
        part("x", probe=noted),
    )
    assert order == ["x", "y", "z"]


@pytest.mark.slow
def test_boot_without_a_stack_starts_redis_for_as_long_as_it_takes_and_tells_each_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del monkeypatch
    done = subprocess.run(
        [sys.executable, "-m", "homeostat.cli", "boot", "--json"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert report["total"] == 20
    states = {row["name"]: (row["state"], row["error"]) for row in report["components"]}
    assert report["running"] == 20, states
    for row in report["components"]:
        assert row["evidence"]["observed"], row["name"]
        assert row["evidence"]["passed"] is True
    assert sum(tier["total"] for tier in report["tiers"]) == 20
    assert not settings().redis_socket.exists()


@pytest.mark.parametrize(("interval_s", "lease_s"), [(5.0, 185.0), (300.0, 905.0)])
def test_a_booted_part_stays_known_until_its_first_ticks(
    house: Callable[..., BootReport], sqlite_store: str, interval_s: float, lease_s: float
) -> None:
    del sqlite_store
    entry = BeatEntry(
        name="kernels.slow", task="checks.kernels.slow", interval_s=interval_s,
        declared_s=interval_s, source="shipped",
    )  # fmt: skip
    with database.transaction() as session:
        session.add(entry)
    before = utcnow()
    assert house(part("slow")).running == 1
    with database.reading() as session:
        lease = checks.leases(session)["kernels.slow"]
    assert lease.expires_at is not None
    assert lease.expires_at - before >= timedelta(seconds=lease_s)
    assert lease.expires_at - utcnow() <= timedelta(seconds=lease_s)


def test_a_store_that_is_away_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEOSTAT_DATABASE_URL", "postgresql://postgres@127.0.0.1:1/none")
    settings.cache_clear()
    with pytest.raises(StoreUnavailableError):
        boot()


@pytest.mark.slow
def test_redis_that_cannot_be_had_degrades_what_needs_it_and_the_rest_boots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOMEOSTAT_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(boot_module, "BACKOFF_S", (0.0, 0.0))
    settings.cache_clear()
    registry.find.cache_clear()
    found = {row.name: row for row in boot().components}
    assert found["kernels.message_bus"].state is State.FAILED
    assert "does not answer" in found["kernels.message_bus"].error
    for name in ("immutable_log", "governance", "secret_manager", "clarity_framework"):
        assert found[f"kernels.{name}"].state is State.RUNNING, found[f"kernels.{name}"].error
    for name in ("trigger_mesh", "health_monitor", "scheduler"):
        row = found[f"kernels.{name}"]
        assert row.state is State.DEGRADED
        assert "needs kernels.message_bus, which is FAILED" in row.error
