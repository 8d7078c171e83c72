"""The connection to the database: one engine per process, sessions, and migrations at start.

SQLite runs in WAL mode and begins each writing transaction with BEGIN IMMEDIATE, so that two
writers queue for the lock (20 s) rather than fail half way when a read turns into a write.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from homeostat.errors import HomeostatError, SettingsError, StoreUnavailableError
from homeostat.settings import settings

BUSY_TIMEOUT_S = 20
MIGRATIONS = Path(__file__).parent / "migrations"

Answer = TypeVar("Answer")


class SchemaTooNewError(HomeostatError):
    """The database was written by a newer Homeostat; install that one."""

    exit_code = 78


def make_engine(url: str) -> Engine:
    """Return an engine for `url`, with the SQLite pragmas where it is SQLite.

    Raises SettingsError where the URL is malformed or its driver is not installed.
    """
    try:
        if make_url(url).get_backend_name() != "sqlite":
            return create_engine(
                url,
                pool_pre_ping=True,
                pool_size=2,
                max_overflow=4,
                connect_args={"connect_timeout": 5},
            )
        engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    except (ArgumentError, ImportError) as error:
        raise SettingsError(
            f"HOMEOSTAT_DATABASE_URL is not usable ({error}); give a SQLAlchemy URL such as "
            "sqlite:////path/file.sqlite3 or postgresql://user@host/name."
        ) from error
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    if not isinstance(connection, sqlite3.Connection):
        return
    # The driver must not begin transactions by itself: `_begin_sqlite` says how each one begins.
    connection.isolation_level = None
    # WAL with synchronous=NORMAL survives a killed process; a power cut may lose the last commits.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


@lru_cache(maxsize=4)
def _engine_of(url: str, pid: int) -> Engine:
    # The pid is part of the key because a forked child must not use its parent's connections.
    del pid
    return make_engine(url)


def engine() -> Engine:
    """Return this process's engine for the database of the settings."""
    return _engine_of(settings().database, os.getpid())


@contextmanager
def transaction() -> Iterator[Session]:
    """Open a session that commits at the end, or rolls back where the body raises.

    Raises StoreUnavailableError where the database does not answer.
    """
    with (
        _unavailable_named(),
        Session(engine(), expire_on_commit=False) as session,
        session.begin(),
    ):
        yield session


@contextmanager
def reading() -> Iterator[Session]:
    """Open a session for reading only; on SQLite it takes no write lock."""
    bound = engine().execution_options(reading=True)
    with _unavailable_named(), Session(bound, expire_on_commit=False) as session:
        yield session


class AsyncReading:
    """A session for reading in a coroutine: questions are answered off the event loop."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def ask(self, question: Callable[[Session], Answer]) -> Answer:
        """Return the answer of a function of the session; one question at a time."""
        return await asyncio.to_thread(question, self._session)


@asynccontextmanager
async def async_session() -> AsyncIterator[AsyncReading]:
    """Open a session for reading that does not hold up the event loop of its coroutine.

    Raises StoreUnavailableError where the database does not answer.
    """
    with reading() as session:
        try:
            yield AsyncReading(session)
        finally:
            # Giving the connection back is a round trip to a database on another host.
            await asyncio.to_thread(session.close)


@contextmanager
def _unavailable_named() -> Iterator[None]:
    try:
        yield
    except PoolTimeoutError as error:
        raise StoreUnavailableError from error
    except DBAPIError as error:
        if error.connection_invalidated or _cannot_connect(error):
            raise StoreUnavailableError(
                f"The database at {make_url(settings().database).render_as_string()} does not "
                f"answer ({str(error.orig).strip().splitlines()[0]}); {_what_to_check()}."
            ) from error
        raise


def _what_to_check() -> str:
    if settings().database.startswith("sqlite"):
        return "see that it is a database file and that this user may write it and its folder"
    return "check HOMEOSTAT_DATABASE_URL and that the server is up"


def _cannot_connect(error: DBAPIError) -> bool:
    text = str(error.orig)
    return any(
        sign in text
        for sign in (
            "unable to open database",
            "connection failed",
            "connection is closed",
            "readonly database",
            "file is not a database",
        )
    )


def shrink_journal() -> int:
    """Cut SQLite's write-ahead log back to nothing, and return the bytes that gave back.

    The file otherwise keeps the size of the largest transaction that it ever held. It gives back
    nothing on another server, and where a reader or writer is at it.
    """
    found = make_url(settings().database)
    if found.get_backend_name() != "sqlite":
        return 0
    journal = Path(f"{found.database}-wal")
    before = journal.stat().st_size if journal.exists() else 0
    with _unavailable_named(), engine().connect() as connection:
        raw: object = connection.connection.dbapi_connection
        # Not by SQLAlchemy, which would begin a transaction, and within one this is refused.
        if isinstance(raw, sqlite3.Connection):
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return before - (journal.stat().st_size if journal.exists() else 0)


def migrate() -> None:
    """Bring the schema of the settings' database to the newest migration.

    Safe when several processes start at once: `migrations/env.py` takes a lock first.
    Raises StoreUnavailableError where the database does not answer, SchemaTooNewError.
    """
    # It brings a template engine and three dialects, a tenth of all that a process imports.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    if settings().database.startswith("sqlite"):
        settings().ensure_state_dir()
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with _unavailable_named(), engine().connect() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            # Alembic knows no way from a revision that is not among its files.
            raise SchemaTooNewError(
                f"The database at {make_url(settings().database).render_as_string()} was written "
                f"by a newer Homeostat ({error}); install that one, or set HOMEOSTAT_STATE_DIR or "
                "HOMEOSTAT_DATABASE_URL to another database."
            ) from error
