"""No component waits for a lock that it holds itself.

On SQLite a transaction that wrote holds the only write lock. A component that then writes over a
second connection waits for itself, for as long as the busy timeout (20 s) lasts. Here that timeout
is short, and each refusal that the database gave is seen, even one that the component swallowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Engine, ExceptionContext
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.component import Component, ComponentSpec, Context, CycleResult, Evidence, Wing
from homeostat.settings import settings
from homeostat.store import controls, database
from homeostat.store.embedded import EmbeddedServer
from tests.component.test_honesty import checked, needs_are_well, world_of

SHORT_S = 0.2


@pytest.fixture
def refusals(sqlite_store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the database refused because it was locked, with a timeout of a fifth of a second."""
    del sqlite_store
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", SHORT_S)
    found: list[str] = []

    def note(context: ExceptionContext) -> None:
        if "locked" in str(context.original_exception):
            found.append(str(context.statement))

    event.listen(Engine, "handle_error", note)
    with EmbeddedServer(settings()):
        yield found
    event.remove(Engine, "handle_error", note)
    database.engine().dispose()


def booted_and_checked(name: str, component: Component) -> None:
    """Do what the boot and the first check of a worker do, each in its one transaction."""
    needs_are_well(name)
    with world_of(name):
        try:
            with database.transaction() as session:
                component.boot(session)
        finally:
            checked(name, component)


#: The trading wing's cycles take seconds each, so they run with the slow tests.
NAMES = [
    pytest.param(name, marks=() if name.startswith("kernels.") else pytest.mark.slow)
    for name in registry.built_in_names()
]


@pytest.mark.parametrize("name", NAMES)
def test_no_component_waits_for_its_own_lock(refusals: list[str], name: str) -> None:
    booted_and_checked(name, registry.find(name))
    assert refusals == []


class WaitsForItself(Component):
    """It sets a switch in its probe, and a second one over a connection of its own."""

    spec = ComponentSpec(name="librarian", wing=Wing.KERNELS, tier=4, summary="Waits for itself.")

    def probe(self, session: Session) -> Evidence:
        """Write in the transaction that it was given."""
        controls.set_on(session, "mine", actor="t", reason="t")
        return Evidence(claim="it wrote", passed=True, observed={"wrote": True})

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Write in another one, and make little of it that this fails."""
        del session, due_at
        try:
            with database.transaction() as other:
                other.execute(text("DELETE FROM controls"))
        except Exception:  # noqa: BLE001  # it hides what happened, and is found out all the same
            return CycleResult(work=0, observed={"at": utcnow().isoformat()})
        return CycleResult(work=1, observed={"cleared": True})


def test_one_that_waits_for_itself_is_found_out(refusals: list[str]) -> None:
    component = WaitsForItself(Context(settings=settings(), find=registry.find))
    booted_and_checked("kernels.librarian", component)
    assert refusals
