"""What an analysis tries, and in which order: as the plan of `kernels.agentic_spine` says.

The plan is a row (`homeostat.store.plans`), written and co-signed before anything is tried.
"""

from __future__ import annotations

from enum import StrEnum

from homeostat.store.plans import IncidentPlan, Route


class Way(StrEnum):
    """One way to mend an incident."""

    PLAYBOOK = "playbook"
    CODING_AGENT = "coding_agent"


#: What is tried for each route, in this order. A plan for the coding agent means that no playbook
#: is made for the failure, or that none lasted: none is tried beside it.
WAYS = {
    Route.PLAYBOOK: (Way.PLAYBOOK, Way.CODING_AGENT),
    Route.CODING_AGENT: (Way.CODING_AGENT,),
    Route.PERSON: (),
}


def ways_of(plan: IncidentPlan | None) -> tuple[Way, ...]:
    """Return what is tried under the plan, in order; without a plan, all there is."""
    return WAYS[Route(plan.route)] if plan is not None else tuple(Way)
