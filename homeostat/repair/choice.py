"""Which playbook is tried next for a failure, and whether the budget still allows one."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.repair import confidence, playbooks
from homeostat.repair.playbooks import Playbook
from homeostat.repair.remedy import Cause
from homeostat.store import lessons, remedies

#: The restart-storm budget: acts within the window, for one component and over all.
WINDOW = timedelta(minutes=10)
MOST_PER_COMPONENT = 5
MOST_OVERALL = 30


def choose(session: Session, cause: Cause) -> Playbook | str:
    """Return the most promising playbook that was not tried for this cause, or why there is none.

    A playbook that `kernels.learning_integration` no longer trusts is not tried.
    """
    fitting = playbooks.fitting(cause.error_type, cause.component, offered(cause.component))
    if not fitting:
        return f"no playbook fits {cause.error_type} in {cause.component}"
    tally = remedies.tally(session)
    tried = remedies.tried_for(session, cause.id)
    given_up = tried | lessons.distrusted(session, "playbook:")
    left = [playbook.name for playbook in fitting if playbook.name not in given_up]
    if not left:
        names = ", ".join(playbook.name for playbook in fitting)
        return f"every fitting playbook was tried or is no longer trusted ({names})"
    return playbooks.named(confidence.ranked(left, tally)[0], fitting)


def offered(component: str) -> tuple[Playbook, ...]:
    """Return every playbook that may be for this component: its own remedies before what ships."""
    try:
        remedies = registry.load(component).spec.remedies
    except Exception:  # noqa: BLE001  # no component, or one that does not load: it has no remedy
        remedies = {}
    return (*playbooks.own(component, remedies), *playbooks.SHIPPED)


def over_budget(session: Session, component: str) -> str:
    """Return why no more remedies may be begun now, or an empty text."""
    since = utcnow() - WINDOW
    if remedies.acted_since(session, since, component) >= MOST_PER_COMPONENT:
        return f"{MOST_PER_COMPONENT} remedies in 10 minutes for {component} did not last"
    if remedies.acted_since(session, since) >= MOST_OVERALL:
        return f"{MOST_OVERALL} remedies in 10 minutes over all: a storm, not one failure"
    return ""
