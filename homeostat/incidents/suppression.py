"""Dependency suppression: where a failed parent is the cause, its children do not page.

Only the page is suppressed. The child's checks go on, its incident is there and is resolved like
any other; and when the parent has recovered and the child has not, the child is announced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.incidents import lifecycle, notices
from homeostat.incidents.lifecycle import State
from homeostat.store.incidents import Incident

Needs = Callable[[str], Iterable[str]]

MOST_CHILDREN = 500
_NOT_A_CAUSE = (State.PENDING, State.RESOLVED)


def declared_needs(component: str) -> tuple[str, ...]:
    """Return what a component declares that it needs; nothing where it cannot be loaded."""
    try:
        return registry.load(component).spec.needs
    except Exception:  # noqa: BLE001  # a plugin may raise anything at import
        return ()


def ancestors(component: str, needs: Needs = declared_needs) -> list[str]:
    """Return all that the component needs, nearest first; a cycle does no harm."""
    found: list[str] = []
    edge = list(needs(component))
    while edge:
        name = edge.pop(0)
        if name != component and name not in found:
            found.append(name)
            edge.extend(needs(name))
    return found


def look_for_parent(
    session: Session, incident: Incident, needs: Needs = declared_needs
) -> str | None:
    """Mark the incident as suppressed where a component that it needs has an open incident."""
    above = ancestors(incident.component, needs)
    if not above:
        return None
    open_ones = {
        parent.component: parent.id
        for parent in session.scalars(
            select(Incident).where(
                Incident.component.in_(above),
                Incident.resolved_at.is_(None),
                Incident.state.not_in(_NOT_A_CAUSE),
                Incident.id != incident.id,
            )
        )
    }
    parent_id = next((open_ones[name] for name in above if name in open_ones), None)
    if parent_id is not None:
        _suppress(session, incident, parent_id)
    return parent_id


def adopt_children(session: Session, parent: Incident, needs: Needs = declared_needs) -> list[str]:
    """Suppress the open, not yet announced incidents of components that need the parent's."""
    candidates = session.scalars(
        select(Incident)
        .where(
            Incident.resolved_at.is_(None),
            Incident.announced.is_(False),
            Incident.suppressed_by.is_(None),
            Incident.component != parent.component,
        )
        .limit(MOST_CHILDREN)
    ).all()
    adopted = []
    for incident in candidates:
        if parent.component in ancestors(incident.component, needs):
            _suppress(session, incident, parent.id)
            adopted.append(incident.id)
    return adopted


def _suppress(session: Session, incident: Incident, parent_id: str) -> None:
    incident.suppressed_by = parent_id
    lifecycle.record(
        session, incident, "suppressed", actor="suppression", detail={"cause": parent_id}
    )


def release(session: Session, now: datetime) -> list[str]:
    """Announce the children that are still open although the parent has been resolved."""
    released = []
    suppressed = session.scalars(
        select(Incident).where(Incident.resolved_at.is_(None), Incident.suppressed_by.is_not(None))
    ).all()
    for incident in suppressed:
        parent = session.get(Incident, incident.suppressed_by, populate_existing=True)
        if parent is not None and parent.resolved_at is None:
            continue
        detail = {"cause": incident.suppressed_by}
        incident.suppressed_by = None
        lifecycle.record(session, incident, "released", actor="suppression", at=now, detail=detail)
        notices.announce_opening(session, incident, now)
        released.append(incident.id)
    return released
