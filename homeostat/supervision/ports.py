"""What components ask of the kernels that they need, so that none of them imports a kernel.

`Component.need` hands out whatever stands under a name; a port says which part of it is used.
The kernel of the port's name fulfils it, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat.store.approvals import Approval
from homeostat.store.audit import AuditRow
from homeostat.store.beat import BeatEntry
from homeostat.store.decisions import DecisionRecord
from homeostat.store.library import Hit
from homeostat.supervision.contracts import Effect, Outcome, Terms
from homeostat.supervision.reading_room import Text


@dataclass(frozen=True)
class Decision:
    """What governance says of one action; never both `allowed` and `needs_approval`."""

    allowed: bool
    needs_approval: bool
    reason: str
    rule: str = ""


class AuditLog(Protocol):
    """What is asked of `kernels.immutable_log`."""

    def append(
        self,
        session: Session,
        *,
        actor: str,
        action: str,
        resource: str,
        decision: str = "",
        subsystem: str = "",
        payload: dict[str, JsonValue] | None = None,
        result: str = "",
    ) -> AuditRow:
        """Append one row in the caller's transaction and return it."""


class Event(Protocol):
    """What was published."""

    @property
    def id(self) -> str:
        """The same id where it was published twice."""

    @property
    def topic(self) -> str:
        """The topic."""

    @property
    def publisher(self) -> str:
        """Who told it."""

    @property
    def at(self) -> datetime:
        """When."""

    @property
    def payload(self) -> Mapping[str, JsonValue]:
        """What the topic declares, and more."""


class Bus(Protocol):
    """What is asked of `kernels.message_bus`."""

    def publish(
        self,
        topic: str,
        payload: Mapping[str, JsonValue],
        *,
        publisher: str,
        key: str = "",
        event_id: str = "",
    ) -> object:
        """Publish one event; raises TopicRefusedError, or BrokerUnavailableError."""

    def happened(self, since: datetime) -> Sequence[Event]:
        """Return what was published since then, oldest first."""

    # A consumer is used within the one function that asks for it, by its own methods.
    def subscribe(self, topic: str, group: str, consumer: str) -> Any:
        """Return a consumer of the topic."""

    def producers(self) -> Mapping[str, Collection[str]]:
        """Return topic → patterns of who may publish to it."""


class Clarity(Protocol):
    """What is asked of `kernels.clarity_framework`."""

    def record(
        self,
        session: Session,
        *,
        component: str,
        action: str,
        subject: str,
        inputs: Mapping[str, JsonValue],
        rule: str,
        alternatives: Sequence[Mapping[str, JsonValue]] = (),
        outcome: str = "",
    ) -> DecisionRecord:
        """Record one automated act, and append its row to the audit log."""


class Governance(Protocol):
    """What is asked of `kernels.governance`."""

    def decide(
        self,
        session: Session,
        *,
        action: str,
        risk: str,
        actor: str,
        subject: str = "",
        signature: str = "",
    ) -> Decision:
        """Decide on one action and log the decision; whatever goes wrong is a refusal."""

    def request(
        self, session: Session, *, action: str, subject: str, risk: str, actor: str, plan: str
    ) -> Approval:
        """Ask a person, once for the same plan; raises ApprovalError where policy refuses."""

    def approve(self, session: Session, approval_id: str, *, by: str, reason: str = "") -> None:
        """Approve, once; raises ApprovalError where it is decided, expired or unknown."""

    def reject(self, session: Session, approval_id: str, *, by: str, reason: str = "") -> None:
        """Reject, once; raises ApprovalError where it is decided, expired or unknown."""

    def use(
        self, session: Session, approval_id: str, *, action: str, subject: str, actor: str
    ) -> Decision:
        """Spend an approval on exactly what was approved; allowed at most once."""


class Library(Protocol):
    """What is asked of `kernels.librarian`."""

    def search(self, session: Session, query: str, *, kind: str = "", most: int = 10) -> list[Hit]:
        """Return what holds the query's words, the best first; `kind` narrows it to one kind."""

    def index(self, session: Session, texts: Iterable[Text]) -> int:
        """Put texts into the index; return how many were new or had changed."""

    def remove(self, session: Session, source: str) -> bool:
        """Take one text out of the index; False where it was not there."""


class Timetable(Protocol):
    """What is asked of `kernels.scheduler`."""

    def set_interval(
        self, session: Session, entry: str, interval_s: float, *, actor: str
    ) -> BeatEntry:
        """Change an entry's interval; raises UnknownEntryError, and ValueError below a second."""


class Verification(Protocol):
    """What is asked of `kernels.verification_framework`."""

    def under_contract(
        self, session: Session, terms: Terms, effect: Effect, *, risk: str
    ) -> Outcome:
        """Ask governance, then hold an act of the caller's own transaction to `terms`.

        Raises ActionRefusedError where governance does not let the actor do it by itself now.
        """

    def within(self, session: Session, terms: Terms, effect: Effect) -> Outcome:
        """Hold an act to `terms` that needs nobody's leave: the way back from one that had it."""
