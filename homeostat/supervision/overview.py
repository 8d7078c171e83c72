"""What is known of every component, in one look: for the pages, the commands and the talk."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.component import ComponentSpec, State
from homeostat.registry import LoadFailure
from homeostat.store import checks
from homeostat.store.checks import Lease
from homeostat.supervision.state import standings

#: The worst first, as a person wants to read it.
ORDER = (State.FAILED, State.UNKNOWN, State.DEGRADED, State.RUNNING)


@dataclass(frozen=True)
class View:
    """One component with its state, why, and the lease that proves it."""

    name: str
    state: State
    reason: str
    spec: ComponentSpec | None
    lease: Lease | None

    @property
    def wing(self) -> str:
        """The part of the house, from the name."""
        return self.name.split(".", 1)[0]


def overview(session: Session, now: datetime | None = None) -> list[View]:
    """Return a view of every component, those that cannot be loaded included, by tier and name."""
    leases = checks.leases(session)
    loaded = dict(registry.load_all())
    specs = {name: kind.spec for name, kind in loaded.items() if not isinstance(kind, LoadFailure)}
    found = standings(specs, leases, now or utcnow())
    views = []
    for name, kind in loaded.items():
        if isinstance(kind, LoadFailure):
            why = f"cannot be loaded: {type(kind.error).__name__}: {kind.error}"
            views.append(View(name, State.FAILED, why, None, leases.get(name)))
        else:
            standing = found[name]
            view = View(name, standing.state, standing.reason, kind.spec, leases.get(name))
            views.append(view)
    return sorted(views, key=_place)


def _place(view: View) -> tuple[str, int, str]:
    return view.wing, view.spec.tier if view.spec else 9, view.name


def counts(views: list[View]) -> dict[str, int]:
    """Return how many components are in each state, every state named."""
    return {state: sum(view.state is state for view in views) for state in ORDER}
