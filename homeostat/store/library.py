"""The library: documents for full-text search, by SQLite's FTS5 or PostgreSQL's tsvector.

The search index follows the table by triggers (SQLite) or as a generated column (PostgreSQL),
so a document cannot be in the one and not in the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import String, UniqueConstraint, delete, insert, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import utcnow
from homeostat.store.base import Base, UtcDateTime

#: A query of more words than this is cut: a traceback pasted whole would match everything.
_MOST_WORDS = 40
_WORD = re.compile(r"[^\W_]+", re.UNICODE)

#: `bm25` weighs the title five times the body; smaller is better, so the sign is turned.
_SQLITE_SEARCH = text("""
    SELECT d.kind, d.source, d.title, -bm25(library_index, 5.0, 1.0) AS score,
           snippet(library_index, 1, '', '', ' … ', 24) AS excerpt
    FROM library_index JOIN library_documents d ON d.number = library_index.rowid
    WHERE library_index MATCH :query AND (:kind = '' OR d.kind = :kind)
    ORDER BY score DESC, d.source LIMIT :most
""")
#: `ts_rank` does not know which words are rare, so each word is ranked alone and weighed by its
#: rarity, as `bm25` does: of 36 labelled questions 34 then find their answer among five, as on
#: SQLite; ranked together, 30. Normalisation 1 divides by the logarithm of the text's length.
_POSTGRESQL_SEARCH = text("""
    WITH asked AS MATERIALIZED (
        SELECT to_tsquery('english', word) AS q FROM unnest(CAST(:query AS text[])) AS word
    ), weighed AS MATERIALIZED (
        SELECT q, ln(1 + (SELECT count(*) FROM library_documents)::float
                     / (1 + (SELECT count(*) FROM library_documents d WHERE d.search @@ q)))
               AS rarity
        FROM asked WHERE numnode(q) > 0
    ), best AS (
        SELECT d.number, sum(rarity * ts_rank('{0.5, 0.5, 0.5, 1.0}', d.search, q, 1)) AS score
        FROM library_documents d JOIN weighed ON d.search @@ q
        WHERE :kind = '' OR d.kind = :kind
        GROUP BY d.number ORDER BY score DESC, d.number LIMIT :most
    )
    SELECT d.kind, d.source, d.title, best.score,
           ts_headline('english', d.body, to_tsquery('english', array_to_string(
               CAST(:query AS text[]), ' | ')), 'StartSel="",StopSel="",MaxWords=24,MinWords=8')
               AS excerpt
    FROM best JOIN library_documents d USING (number) ORDER BY best.score DESC, d.source
""")


class Document(Base):
    """One thing that can be looked up: a runbook, a page, a docstring, an incident, a memory."""

    __tablename__ = "library_documents"
    __table_args__ = (UniqueConstraint("source", name="uq_library_documents_source"),)

    #: The index's row number is this one; a text key would be renumbered by SQLite's VACUUM.
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(32), index=True)
    #: Where it comes from: a path, or a table and id. One document a source.
    source: Mapped[str] = mapped_column(String(255))
    title: Mapped[str]
    body: Mapped[str]
    digest: Mapped[str] = mapped_column(String(64))
    indexed_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


@dataclass(frozen=True)
class Hit:
    """One document that was found, with its score (higher is better) and the words around."""

    kind: str
    source: str
    title: str
    score: float
    excerpt: str


def put(session: Session, *, kind: str, source: str, title: str, body: str, digest: str) -> bool:
    """Add or replace the document of that source; False where it stands there unchanged."""
    document = session.scalar(select(Document).where(Document.source == source))
    if document is None:
        document = Document(kind=kind, source=source, title=title, body=body, digest=digest)
        session.add(document)
    elif document.digest == digest:
        return False
    else:
        document.title, document.body, document.digest = title, body, digest
        document.indexed_at = utcnow()
    session.flush()
    return True


def add_new(session: Session, rows: Sequence[Mapping[str, str]]) -> int:
    """Add documents of sources that have none yet, in one statement; return how many.

    A row holds kind, source, title, body and digest. Two thousand take a fraction of a second
    in which nobody else can write on SQLite; one by one they took two.
    """
    if rows:
        now = utcnow()
        session.execute(insert(Document), [{**row, "indexed_at": now} for row in rows])
    return len(rows)


def remove(session: Session, source: str) -> bool:
    """Remove the document of that source; False where there was none."""
    found = session.scalar(
        delete(Document)
        .where(Document.source == source)
        .returning(Document.number)
        .execution_options(synchronize_session=False)
    )
    return found is not None


def digests(session: Session, kind: str) -> dict[str, str]:
    """Return the digest of every document of a kind, by source."""
    rows = session.execute(select(Document.source, Document.digest).where(Document.kind == kind))
    return {row.source: row.digest for row in rows}


def search(session: Session, query: str, *, kind: str = "", most: int = 10) -> list[Hit]:
    """Return the documents that hold any of the query's words, the best first."""
    words = list(dict.fromkeys(word.lower() for word in _WORD.findall(query)))[:_MOST_WORDS]
    if not words:
        return []
    sqlite = session.get_bind().dialect.name == "sqlite"
    statement = _SQLITE_SEARCH if sqlite else _POSTGRESQL_SEARCH
    # Words hold letters and digits only, so neither query language can be broken out of.
    asked = " OR ".join(f'"{word}"' for word in words) if sqlite else words
    rows = session.execute(statement, {"query": asked, "kind": kind, "most": most})
    return [Hit(r.kind, r.source, r.title, float(r.score), r.excerpt) for r in rows]
