"""Memory and agency: switches, remedy runs, library, memories, lessons, plans, tunings, talk."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from homeostat.store.base import JSON, UtcDateTime

revision = "0005b_memory"
down_revision = "0005_control_plane"
branch_labels = None
depends_on = None

TABLES = (
    "utterances",
    "tunings",
    "remedy_runs",
    "memory_sources",
    "memories",
    "library_documents",
    "lessons",
    "incident_plans",
    "controls",
)

#: The index holds no text of its own: it reads the table, and triggers keep the two alike
#: (the SQLite documentation on FTS5, "External Content Tables").
SQLITE_INDEX = (
    """CREATE VIRTUAL TABLE library_index USING fts5(
        title, body, content='library_documents', content_rowid='number',
        tokenize='porter unicode61')""",
    """CREATE TRIGGER library_documents_added AFTER INSERT ON library_documents BEGIN
        INSERT INTO library_index(rowid, title, body) VALUES (new.number, new.title, new.body);
    END""",
    """CREATE TRIGGER library_documents_removed AFTER DELETE ON library_documents BEGIN
        INSERT INTO library_index(library_index, rowid, title, body)
        VALUES ('delete', old.number, old.title, old.body);
    END""",
    """CREATE TRIGGER library_documents_changed AFTER UPDATE ON library_documents BEGIN
        INSERT INTO library_index(library_index, rowid, title, body)
        VALUES ('delete', old.number, old.title, old.body);
        INSERT INTO library_index(rowid, title, body) VALUES (new.number, new.title, new.body);
    END""",
)
#: Dotted names are taken apart, because PostgreSQL's parser would keep one for a host name.
POSTGRESQL_INDEX = (
    """ALTER TABLE library_documents ADD COLUMN search tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('english', regexp_replace(title, '[^[:alnum:]]+', ' ', 'g')), 'A')
        || to_tsvector('english', regexp_replace(body, '[^[:alnum:]]+', ' ', 'g'))) STORED""",
    "CREATE INDEX ix_library_documents_search ON library_documents USING gin (search)",
)


def upgrade() -> None:
    """Make the tables and the full-text index."""
    op.create_table(
        "controls",
        sa.Column("name", sa.String(length=190), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_controls")),
    )
    op.create_table(
        "incident_plans",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("incident_id", sa.String(length=36), nullable=False),
        sa.Column("opening", sa.Integer(), nullable=False),
        sa.Column("route", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("cosigned_by", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("recalled", JSON, nullable=False),
        sa.Column("made_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident_plans")),
        sa.UniqueConstraint("incident_id", "opening", name="uq_incident_plans_incident_id"),
    )
    op.create_index("ix_incident_plans_state", "incident_plans", ["state", "due_at"], unique=False)
    op.create_table(
        "lessons",
        sa.Column("subject", sa.String(length=190), nullable=False),
        sa.Column("won", sa.Integer(), nullable=False),
        sa.Column("lost", sa.Integer(), nullable=False),
        sa.Column("mean", sa.Double(), nullable=False),
        sa.Column("upper", sa.Double(), nullable=False),
        sa.Column("trusted", sa.Boolean(), nullable=False),
        sa.Column("learnt_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_lessons")),
    )
    op.create_table(
        "library_documents",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("source", sa.String(length=255), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("indexed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_library_documents")),
        sa.UniqueConstraint("source", name="uq_library_documents_source"),
    )
    op.create_index(op.f("ix_library_documents_kind"), "library_documents", ["kind"], unique=False)
    op.create_table(
        "memories",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("signature", sa.String(length=128), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("worked", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("first_at", UtcDateTime(), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_memories")),
        sa.UniqueConstraint("kind", "signature", name="uq_memories_kind_signature"),
    )
    op.create_index("ix_memories_last_at", "memories", ["last_at"], unique=False)
    op.create_table(
        "remedy_runs",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("playbook", sa.String(length=64), nullable=False),
        sa.Column("component", sa.String(length=128), nullable=False),
        sa.Column("cause", sa.String(length=128), nullable=False),
        sa.Column("target", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("acted", sa.Boolean(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("evidence", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_remedy_runs")),
    )
    op.create_index(op.f("ix_remedy_runs_cause"), "remedy_runs", ["cause"], unique=False)
    op.create_index(
        "ix_remedy_runs_component_started", "remedy_runs", ["component", "started_at"], unique=False
    )
    op.create_index("ix_remedy_runs_state", "remedy_runs", ["state"], unique=False)
    op.create_table(
        "tunings",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=190), nullable=False),
        sa.Column("before", sa.Double(), nullable=False),
        sa.Column("after", sa.Double(), nullable=False),
        sa.Column("score_before", sa.Double(), nullable=False),
        sa.Column("score_after", sa.Double(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("judge_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tunings")),
    )
    op.create_index(op.f("ix_tunings_name"), "tunings", ["name"], unique=False)
    op.create_index(op.f("ix_tunings_state"), "tunings", ["state"], unique=False)
    op.create_table(
        "utterances",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("speaker", sa.String(length=128), nullable=False),
        sa.Column("said", sa.String(), nullable=False),
        sa.Column("intent", sa.String(length=32), nullable=False),
        sa.Column("answer", sa.String(), nullable=False),
        sa.Column("pending", sa.String(length=64), nullable=False),
        sa.Column("phrase", sa.String(length=190), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_utterances")),
    )
    op.create_index("ix_utterances_speaker", "utterances", ["speaker", "at"], unique=False)
    op.create_table(
        "memory_sources",
        sa.Column("source", sa.String(length=190), nullable=False),
        sa.Column("memory_id", sa.String(length=36), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["memory_id"],
            ["memories.id"],
            name=op.f("fk_memory_sources_memory_id_memories"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_memory_sources")),
    )
    op.create_index(
        op.f("ix_memory_sources_memory_id"), "memory_sources", ["memory_id"], unique=False
    )

    sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in SQLITE_INDEX if sqlite else POSTGRESQL_INDEX:
        op.execute(statement)


def downgrade() -> None:
    """Drop the tables."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE library_index")
    for table in TABLES:
        op.drop_table(table)
