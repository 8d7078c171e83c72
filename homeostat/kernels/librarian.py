"""Indexes what can be read - runbooks, pages, docstrings, past incidents - and finds it again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import new_id
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.store import library
from homeostat.store.incidents import Incident
from homeostat.store.library import Hit
from homeostat.supervision import events, reading_room
from homeostat.supervision.reading_room import Text

#: The kinds that are read from files; each cycle makes the index the same as the files.
FROM_FILES = ("page", "runbook", "docstring")
#: Incidents that are taken in by one cycle: the newest, because old ones do not change.
MOST_INCIDENTS = 500


class Librarian(Component):
    """The full-text index over everything that explains the system."""

    spec = ComponentSpec(
        name="librarian",
        wing=Wing.KERNELS,
        tier=4,
        summary="Indexes runbooks, pages, docstrings and past incidents for full-text search.",
        needs=("kernels.immutable_log",),
        timeout_s=30.0,
    )

    def search(self, session: Session, query: str, *, kind: str = "", most: int = 10) -> list[Hit]:
        """Return what holds the query's words, the best first; `kind` narrows it to one kind."""
        return library.search(session, query, kind=kind, most=most)

    def index(self, session: Session, texts: Iterable[Text]) -> int:
        """Put texts into the index; return how many were new or had changed."""
        return sum(
            library.put(
                session,
                kind=text.kind,
                source=text.source,
                title=text.title,
                body=text.body,
                digest=text.digest,
            )
            for text in texts
        )

    def remove(self, session: Session, source: str) -> bool:
        """Take one text out of the index; False where it was not there."""
        return library.remove(session, source)

    def probe(self, session: Session) -> Evidence:
        """Index a text with a word that nobody else has, find it, change it, and take it out."""
        watch = Stopwatch()
        first, second, source = f"w{new_id()[-12:]}", f"w{new_id()[-12:]}", f"probe:{new_id()}"
        self.index(session, [Text("probe", source, "Probe", f"The remedy is called {first}.")])
        found = [hit.source for hit in self.search(session, f"{first} unheardof")]
        self.index(session, [Text("probe", source, "Probe", f"The remedy is called {second}.")])
        stale = [hit.source for hit in self.search(session, first)]
        changed = [hit.source for hit in self.search(session, second)]
        self.remove(session, source)
        gone = [hit.source for hit in self.search(session, second)]
        return Evidence(
            claim="a text is found by its words, by its new words once changed, and then no more",
            passed=(found, changed) == ([source], [source]) and not stale and not gone,
            observed={
                "found": found == [source],
                "found_after_change": changed == [source],
                "found_by_old_words": len(stale),
                "found_after_removal": len(gone),
            },
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Make the index the same as the files, and take the newest incidents in."""
        del due_at
        runbooks = self.context.settings.state_dir / reading_room.RUNBOOKS
        # Files are read before the first statement, so that no lock is held meanwhile.
        texts = {text.source: text for text in reading_room.texts(reading_room.HOUSE, runbooks)}
        known = {
            source: digest
            for kind in FROM_FILES
            for source, digest in library.digests(session, kind).items()
        }
        changed = [text for text in texts.values() if known.get(text.source) != text.digest]
        vanished = known.keys() - texts.keys()
        new = [text for text in changed if text.source not in known]
        indexed = library.add_new(session, [_row(text) for text in new])
        indexed += self.index(session, [text for text in changed if text.source in known])
        indexed += self.index(session, _incidents(session))
        for source in vanished:
            self.remove(session, source)
        if indexed or vanished:
            told: dict[str, JsonValue] = {"indexed": indexed, "removed": len(vanished)}
            events.tell(session, "library.changed", told, publisher=self.spec.full_name)
        return CycleResult(
            work=indexed + len(vanished),
            observed={"texts": len(texts), "indexed": indexed, "removed": len(vanished)},
        )


def _row(text: Text) -> dict[str, str]:
    return {
        "kind": text.kind,
        "source": text.source,
        "title": text.title,
        "body": text.body,
        "digest": text.digest,
    }


def _incidents(session: Session) -> list[Text]:
    statement = select(Incident).order_by(Incident.last_seen_at.desc()).limit(MOST_INCIDENTS)
    return [
        Text(
            "incident",
            f"incident:{incident.id}",
            f"{incident.component} {incident.type}",
            f"{incident.message}\n{incident.reason}\n{incident.state}",
        )
        for incident in session.scalars(statement)
    ]
