"""One memory of what happened and how it ended, with where each memory comes from."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import JsonValue
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.store import audit, memories
from homeostat.store.decisions import DecisionRecord
from homeostat.store.incidents import Incident
from homeostat.store.memories import Memory, Provenance
from homeostat.store.remedies import RemedyRun, RunState
from homeostat.store.repair import Repair
from homeostat.supervision import events
from homeostat.supervision.ports import Library
from homeostat.supervision.reading_room import Text

#: How long a memory of each kind is kept after it was last touched. What worked is never
#: forgotten, because a known fix is worth more the rarer its failure is.
KEPT_FOR = {
    "incident": timedelta(days=365),
    "fix": timedelta(days=365),
    "decision": timedelta(days=90),
}
#: Sources of each table that one cycle takes in.
MOST_A_CYCLE = 200
#: Candidates that full-text search gives for each one that is asked for.
_CANDIDATES = 10
#: What a repair may have come to; the others still wait for somebody.
REPAIR_ENDS = ("applied", "reverted", "rejected", "refused", "none_found", "failed")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@dataclass(frozen=True)
class Recollection:
    """One memory that was recalled, how alike it is (0 to 1), and where it comes from."""

    memory: Memory
    likeness: float
    sources: list[str]


@dataclass(frozen=True)
class Source:
    """One thing to remember."""

    source: str
    kind: str
    signature: str
    text: str
    outcome: str
    at: datetime


class MemoryFusion(Component):
    """Takes in incidents, fixes and decisions, merges what is the same, recalls what is alike."""

    spec = ComponentSpec(
        name="memory_fusion",
        wing=Wing.KERNELS,
        tier=4,
        summary="Remembers what happened and how it ended, and recalls what is alike.",
        needs=("kernels.immutable_log", "kernels.librarian"),
        timeout_s=20.0,
    )

    def remember(self, session: Session, source: Source) -> Memory | None:
        """Take one source in; None where it was taken in before."""
        memory = memories.remember(
            session,
            kind=source.kind,
            signature=source.signature[:128],
            text=source.text,
            source=source.source,
            outcome=source.outcome,
            at=source.at,
        )
        if memory is not None:
            words = f"{memory.text}\n{' '.join(words_of(memory.text))}"
            text = Text("memory", f"memory:{memory.id}", memory.signature, words)
            self._library().index(session, [text])
        return memory

    def recall(
        self, session: Session, text: str, *, signature: str = "", kind: str = "", most: int = 5
    ) -> list[Recollection]:
        """Return the memories that are most like `text`; those of `signature` come first."""
        query = " ".join(words_of(text))
        hits = self._library().search(session, query, kind="memory", most=most * _CANDIDATES)
        found = memories.of_ids(session, [hit.source.removeprefix("memory:") for hit in hits])
        if signature:
            found |= {memory.id: memory for memory in memories.of_signature(session, signature)}
        scored = [
            (memory.signature == signature, likeness(text, memory.text), memory)
            for memory in found.values()
            if not kind or memory.kind == kind
        ]
        scored.sort(key=lambda one: (not one[0], -one[1], one[2].id))
        return [
            Recollection(memory, score, self.sources_of(session, memory.id))
            for _, score, memory in scored[:most]
        ]

    def sources_of(self, session: Session, memory_id: str) -> list[str]:
        """Return where a memory comes from."""
        return [row.source for row in memories.provenance(session, memory_id)]

    def forget(self, session: Session, memory: Memory) -> None:
        """Remove a memory, its sources and its place in the library."""
        self._library().remove(session, f"memory:{memory.id}")
        memories.forget(session, memory.id)

    def probe(self, session: Session) -> Evidence:
        """Remember one failure twice, recall it by other words, and forget it."""
        watch = Stopwatch()
        word, now = "probe" + "".join(chr(97 + int(c, 16)) for c in new_id()[-12:]), utcnow()
        sources = [f"probe:{new_id()}", f"probe:{new_id()}"]
        text = f"the {word} valve did not close in time"
        for name in sources:
            self.remember(session, Source(name, "probe", word, text, "worked", now))
        again = self.remember(session, Source(sources[0], "probe", word, text, "worked", now))
        recalled = self.recall(session, f"valve {word} was late", kind="probe", most=5)
        first = recalled[0] if recalled else None
        # The merged row is read from the store, because that is what the next process will see.
        stored = session.scalars(select(Memory).where(Memory.signature == word)).all()
        for memory in stored:
            self.forget(session, memory)
        left = self.recall(session, text, kind="probe")
        merged = len(stored) == 1 and stored[0].times == len(sources) and again is None
        known = first is not None and sorted(first.sources) == sorted(sources)
        return Evidence(
            claim="what happened twice is one memory with both sources, recalled and forgotten",
            passed=merged and known and not left,
            observed={
                "merged": merged,
                "recalled": first is not None,
                "sources_known": known,
                "left_after_forgetting": len(left),
            },
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Take in what ended since the last cycle, and forget what the policy lets go."""
        taken = sum(
            self.remember(session, source) is not None for source in [*_newly_ended(session)]
        )
        forgotten = 0
        for kind, kept in KEPT_FOR.items():
            for memory in memories.older_than(session, kind, due_at - kept):
                if memory.worked == 0:
                    self.forget(session, memory)
                    forgotten += 1
        if forgotten:
            audit.append(
                session,
                actor=self.spec.full_name,
                action="memory.forgotten",
                resource="memories",
                subsystem=self.spec.full_name,
                payload={"count": forgotten},
                result="done",
            )
        if taken or forgotten:
            told: dict[str, JsonValue] = {"taken": taken, "forgotten": forgotten}
            events.tell(session, "memory.changed", told, publisher=self.spec.full_name)
        held = memories.count(session)
        return CycleResult(
            work=taken + forgotten,
            observed={"taken_in": taken, "forgotten": forgotten, "held": held},
        )

    def _library(self) -> Library:
        found: Library = self.need("kernels.librarian")
        return found


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case; `ImmutableLog.append` gives three."""
    return [word.lower() for word in _WORD.findall(text)]


def likeness(one: str, other: str) -> float:
    """Return the cosine of the two texts' word counts, 0 (nothing shared) to 1 (the same)."""
    a, b = Counter(words_of(one)), Counter(words_of(other))
    norm = math.sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values()))
    return sum(count * b[word] for word, count in a.items()) / norm if norm else 0.0


def _newly_ended(session: Session) -> Iterator[Source]:
    """Yield what has ended and was not taken in yet, a bounded number of each kind."""
    for kind in (_incidents, _remedies, _repairs, _decisions):
        yield from kind(session)


def _not_taken(name: ColumnElement[str]) -> ColumnElement[bool]:
    return name.not_in(select(Provenance.source))


def _incidents(session: Session) -> Iterator[Source]:
    ended = select(Incident).where(
        Incident.state.in_(("resolved", "escalated")),
        _not_taken("incidents:" + Incident.id + ":" + Incident.state),
    )
    for incident in session.scalars(ended.order_by(Incident.id).limit(MOST_A_CYCLE)):
        text = f"{incident.component} {incident.type} {incident.message}"
        outcome = "worked" if incident.state == "resolved" else "failed"
        name = f"incidents:{incident.id}:{incident.state}"
        at = incident.state_since
        yield Source(name, "incident", incident.group_key, text, outcome, at)


def _remedies(session: Session) -> Iterator[Source]:
    ended = select(RemedyRun).where(
        RemedyRun.state.in_((RunState.VERIFIED, RunState.UNVERIFIED)),
        _not_taken("remedy_runs:" + RemedyRun.id),
    )
    for run in session.scalars(ended.order_by(RemedyRun.id).limit(MOST_A_CYCLE)):
        outcome = "worked" if run.state == RunState.VERIFIED else "failed"
        text = f"playbook {run.playbook} for {run.component}: {run.reason or outcome}"
        signature = f"playbook:{run.playbook}:{run.component}"
        name, at = f"remedy_runs:{run.id}", run.ended_at or run.started_at
        yield Source(name, "fix", signature, text, outcome, at)


def _repairs(session: Session) -> Iterator[Source]:
    ended = select(Repair).where(
        Repair.status.in_(REPAIR_ENDS),
        _not_taken("repairs:" + Repair.id + ":" + Repair.status),
    )
    for repair in session.scalars(ended.order_by(Repair.id).limit(MOST_A_CYCLE)):
        if _is_watched(repair):
            continue
        outcome = "worked" if repair.status == "applied" else "failed"
        text = f"repair {repair.status}: {repair.outcome.get('failure', '')} ({repair.command})"
        name, at = f"repairs:{repair.id}:{repair.status}", repair.decided_at or repair.created_at
        yield Source(name, "fix", repair.replay_key or repair.group_key, text, outcome, at)


def _is_watched(repair: Repair) -> bool:
    """Whether an applied fix is still looked at: it has not worked before it stands."""
    return repair.status == "applied" and bool(repair.incident_id) and "ended" not in repair.watch


def _decisions(session: Session) -> Iterator[Source]:
    made = select(DecisionRecord).where(_not_taken("decision_records:" + DecisionRecord.id))
    for record in session.scalars(made.order_by(DecisionRecord.id).limit(MOST_A_CYCLE)):
        what = f"{record.component}:{record.action}:{record.rule}"
        signature = hashlib.sha256(what.encode()).hexdigest()
        text = f"{record.component} {record.action} {record.subject}: {record.rule}"
        name = f"decision_records:{record.id}"
        yield Source(name, "decision", signature, f"{text} {record.outcome}", "", record.at)
