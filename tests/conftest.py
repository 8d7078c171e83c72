"""Fixtures that every room shares: a state folder of its own and a migrated database."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import psycopg
import pytest

from homeostat import registry
from homeostat.settings import settings
from homeostat.store import database
from tests.running_stack import RunningStack, running

# A busy machine is no failure: neither an example nor making one has to be quick.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")

POSTGRESQL = "postgresql://postgres@127.0.0.1:5432"


def postgresql_answers() -> bool:
    """Return whether the test PostgreSQL server answers."""
    try:
        psycopg.connect(f"{POSTGRESQL}/postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def forget_settings() -> None:
    """Make the next call read the environment anew."""
    settings.cache_clear()
    registry.find.cache_clear()


@pytest.fixture(autouse=True)
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder of the test's own, so that no test sees another's or the user's."""
    for name in [name for name in os.environ if name.startswith("HOMEOSTAT_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "var"
    monkeypatch.setenv("HOMEOSTAT_STATE_DIR", str(folder))
    forget_settings()
    yield folder
    forget_settings()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file that the real migrations made, once, for the tests to copy."""
    path = tmp_path_factory.mktemp("template") / "homeostat.sqlite3"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOMEOSTAT_STATE_DIR", str(path.parent))
        forget_settings()
        database.migrate()
        database.engine().dispose()
        with sqlite3.connect(path, isolation_level=None) as connection:
            # Without this the rows would stand in the write-ahead log, which is not copied.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    forget_settings()
    return path


@pytest.fixture(scope="session")
def migrated_postgresql() -> Iterator[str]:
    """A PostgreSQL database that the real migrations made, once, as the tests' template."""
    if not postgresql_answers():
        pytest.skip("PostgreSQL does not answer on 127.0.0.1:5432")
    with _postgresql_database() as name:
        # Left before the tests begin: a stack that a module starts would read the variable too.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOMEOSTAT_DATABASE_URL", f"{POSTGRESQL}/{name}")
            forget_settings()
            database.migrate()
            database.engine().dispose()
        forget_settings()
        yield name


@contextmanager
def _postgresql_database(template: str = "template1") -> Iterator[str]:
    name = f"homeostat_test_{secrets.token_hex(6)}"
    with psycopg.connect(f"{POSTGRESQL}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield name
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def strips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of generated markets, which the first test that asks for one fills for all."""
    return tmp_path_factory.mktemp("strips")


@pytest.fixture
def market_made_once(strips: Path, state_dir: Path) -> None:
    """A state folder that shares its generated market: making one costs two seconds of a core."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    (state_dir / "market").symlink_to(strips)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(
    request: pytest.FixtureRequest,
    state_dir: Path,
    market_made_once: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """A migrated database, once on SQLite and once on PostgreSQL where that answers."""
    del market_made_once
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_sqlite"), state_dir)
        yield "sqlite"
        return
    template = request.getfixturevalue("migrated_postgresql")
    with _postgresql_database(template) as name:
        monkeypatch.setenv("HOMEOSTAT_DATABASE_URL", f"{POSTGRESQL}/{name}")
        forget_settings()
        yield "postgresql"
        database.engine().dispose()


@pytest.fixture
def sqlite_store(migrated_sqlite: Path, state_dir: Path, market_made_once: None) -> str:
    """A migrated SQLite database, for tests in which the server makes no difference."""
    del market_made_once
    shutil.copy(migrated_sqlite, state_dir)
    return "sqlite"


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """One running stack for all tests that only ask it: on SQLite and the embedded server."""
    with running(tmp_path_factory.mktemp("stack") / "var") as stack:
        yield stack


@pytest.fixture
def stack(shared_stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningStack]:
    """The shared stack, with this process's settings pointing to it."""
    monkeypatch.setenv("HOMEOSTAT_STATE_DIR", str(shared_stack.state_dir))
    forget_settings()
    yield shared_stack
    forget_settings()
