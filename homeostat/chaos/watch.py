"""Watches a struck system: who noticed, whether the remedy acted, when it was steady again.

Each moment is taken once, from a row, a process's birth or the ledger; nobody is believed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from pydantic import JsonValue
from sqlalchemy import select

from homeostat.chaos.faults import Fault, Plan
from homeostat.chaos.ground import born
from homeostat.chaos.scenario import Proof, Remedy, Scenario, Step
from homeostat.chaos.steady_state import SteadyState
from homeostat.clock import utcnow
from homeostat.errors import StoreUnavailableError
from homeostat.store import effects
from homeostat.store.database import reading
from homeostat.store.incidents import Incident

#: Remedies whose only trace is the ledger itself: nothing is lost and nothing is doubled.
NO_TRACE = frozenset({Remedy.DEDUPLICATION})


@dataclass
class Watch:
    """What was seen since the fault; each moment is set once."""

    scenario: Scenario
    fault: Fault
    plan: Plan
    at: datetime
    steady: SteadyState
    noticed: Proof | None = None
    healed: Proof | None = None
    steady_proof: Proof | None = None
    first_effect_at: datetime | None = None
    timeline: list[Step] = field(default_factory=list)

    def note(self, what: str, at: datetime | None = None, **detail: JsonValue) -> None:
        """Add a line to the timeline."""
        at = at or utcnow()
        seconds = (at - self.at).total_seconds()
        self.timeline.append(Step(at=at, seconds=seconds, what=what, detail=detail))

    def look(self) -> bool:
        """Look once at everything that is still missing; whether nothing is."""
        if self.noticed is None and (proof := _noticed(self.scenario, self.at)):
            self.noticed = proof
            self.note("noticed", proof.at, **proof.observed)
        if self.healed is None:
            proof = self.fault.remedied(self.plan)
            if proof is not None and proof.held:
                self.healed = proof
                self.note("remedied", self.healed_at(), **proof.observed)
        if self.first_effect_at is None:
            self.first_effect_at = _first_effect(self.at)
        if self.steady_proof is None or not self.steady_proof.held:
            proof = self.steady.look()
            if proof.held:
                self.note("steady state", proof.at)
            self.steady_proof = proof
        return self.complete

    @property
    def complete(self) -> bool:
        """Whether everything that this scenario asks for was seen."""
        noticed = not self.scenario.noticed_by or self.noticed is not None
        healed = self.healed is not None or self.scenario.remedy in NO_TRACE
        steady = self.steady_proof is not None and self.steady_proof.held
        return noticed and healed and steady

    def healed_at(self) -> datetime:
        """When the remedy was done: a new process's birth, by the kernel's record, else now."""
        now = utcnow()
        if self.healed is None or self.scenario.remedy is not Remedy.PROCESS_RESTART:
            return now
        pids = [pid for pid in self.healed.observed.values() if isinstance(pid, int)]
        moments = [moment for pid in pids if (moment := born(pid)) and moment > self.at]
        return max(moments, default=now)


def _noticed(scenario: Scenario, since: datetime) -> Proof | None:
    """Return the incident of the named source and component that was seen since the fault."""
    if not scenario.noticed_by:
        return None
    source, _, component = scenario.noticed_by.partition(":")
    statement = (
        select(Incident)
        .where(
            Incident.source == source,
            Incident.component == component,
            Incident.last_seen_at >= since,
        )
        .order_by(Incident.last_seen_at)
    )
    try:
        with reading() as session:
            incident = session.scalars(statement).first()
    except StoreUnavailableError:
        return None
    if incident is None:
        return None
    observed: dict[str, JsonValue] = {
        "incident": incident.id,
        "label": incident.label,
        "message": incident.message,
    }
    return Proof(claim="an incident stands", held=True, observed=observed, at=incident.last_seen_at)


def _first_effect(since: datetime) -> datetime | None:
    try:
        with reading() as session:
            return effects.first_after(session, since)
    except StoreUnavailableError:
        return None
