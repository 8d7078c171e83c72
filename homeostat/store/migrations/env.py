"""Alembic's entry: runs the migrations in one transaction that also holds a lock."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, text

from homeostat.store.models import Base

#: Any constant will do; it names the migration lock among PostgreSQL's advisory locks.
ADVISORY_LOCK = 7_205_110_601

connection: Connection = context.config.attributes["connection"]
with connection.begin():
    # On SQLite the transaction began with BEGIN IMMEDIATE and so is the lock already.
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        transaction_per_migration=False,
    )
    context.run_migrations()
