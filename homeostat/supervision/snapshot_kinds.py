"""What a snapshot of each kind holds, and how it is restored into a scratch place."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from pydantic import JsonValue
from sqlalchemy import Column, Connection, MetaData, Table, create_engine, select, text
from sqlalchemy.orm import Session
from sqlalchemy.types import Text

from homeostat.settings import Settings, settings
from homeostat.store import database
from homeostat.store.base import Base
from homeostat.store.beat import timetable
from homeostat.store.trading import ModelAlias, ModelArtifact
from homeostat.supervision import postgresql_schema

FOLDER = "snapshots"
#: Settings whose value may hold a password; a snapshot keeps their digest, so that a change shows.
_SECRET = ("database_url", "broker_url", "redis_url", "notify_urls")
#: What SQLite was told to make; a full-text index keeps tables of its own that follow from it.
_WRITTEN = text(
    "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL "
    "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
    "AND name NOT LIKE 'library\\_index\\_%' ESCAPE '\\' ORDER BY name"
)


def configuration(session: Session) -> JsonValue:
    """Return the settings in force, digests in place of what may hold a password."""
    del session
    return _shown(settings())


def _shown(found: Settings) -> dict[str, JsonValue]:
    fields: dict[str, JsonValue] = found.model_dump(mode="json")
    for name in _SECRET:
        value = str(fields[name])
        fields[name] = hashlib.sha256(value.encode()).hexdigest() if value else ""
    if found.policy_file is not None:
        policy = found.policy_file.read_bytes() if found.policy_file.exists() else b""
        fields["policy_digest"] = hashlib.sha256(policy).hexdigest()
    return fields


def restored_configuration(content: JsonValue, scratch: Path) -> JsonValue:
    """Make settings of it, and return what they say."""
    del scratch
    if not isinstance(content, dict):
        return None
    # Kept digests stand for the secrets themselves, which are never written to a snapshot.
    plain = {n: v for n, v in content.items() if n not in (*_SECRET, "policy_digest")}
    found = Settings.model_validate({**plain, **dict.fromkeys(_SECRET, "")})
    kept = {name: content[name] for name in (*_SECRET, "policy_digest") if name in content}
    return {**found.model_dump(mode="json"), **kept}


def schema(session: Session) -> JsonValue:
    """Return how each table, index, constraint, trigger and function is made, in words."""
    return _tables(session.connection())


def _tables(connection: Connection) -> dict[str, JsonValue]:
    if connection.dialect.name == "sqlite":
        return {row.name: row.sql for row in connection.execute(_WRITTEN)}
    return dict(postgresql_schema.described(connection))


def restored_schema(content: JsonValue, scratch: Path) -> JsonValue:
    """Make every table, index and trigger anew in a scratch place, and read them back.

    The place is a database of its own on SQLite, and a schema of its own on PostgreSQL.
    """
    if not isinstance(content, dict):
        return None
    if not settings().database.startswith("sqlite"):
        tables = {name: str(one) for name, one in content.items()}
        return dict(postgresql_schema.made_anew(database.engine(), tables))
    engine = create_engine(f"sqlite:///{scratch / 'schema.sqlite3'}")
    # Tables before what stands on them.
    words = sorted((str(one) for one in content.values()), key=lambda one: "TABLE" not in one[:22])
    with engine.begin() as connection:
        for one in words:
            connection.exec_driver_sql(one)
        found = _tables(connection)
    engine.dispose()
    return found


def schedule(session: Session) -> JsonValue:
    """Return the timetable in force."""
    return {
        row.name: {
            "task": row.task,
            "interval_s": row.interval_s,
            "declared_s": row.declared_s,
            "kwargs": row.kwargs,
            "catch_up": row.catch_up,
            "source": row.source,
        }
        for row in timetable(session)
    }


def models(session: Session) -> JsonValue:
    """Return which artefact each model's name stands for; its bytes are kept beside, once."""
    statement = select(
        ModelAlias.name, ModelArtifact.id, ModelArtifact.sha256, ModelArtifact.content
    ).join(ModelArtifact, ModelAlias.artifact_id == ModelArtifact.id)
    found: dict[str, JsonValue] = {}
    for row in session.execute(statement):
        kept = hashlib.sha256(row.content).hexdigest()
        _keep(kept, row.content)
        found[row.name] = {"artifact": row.id, "sha256": row.sha256, "kept": kept}
    return found


def artefact(kept: str) -> bytes:
    """Return the bytes that a snapshot keeps; raises OSError where they are gone."""
    return (_artefacts() / kept).read_bytes()


def _keep(digest: str, content: bytes) -> None:
    path = _artefacts() / digest
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        aside = path.with_suffix(f".{os.getpid()}")
        aside.write_bytes(content)
        aside.replace(path)


def _artefacts() -> Path:
    return settings().state_dir / FOLDER / "artefacts"


def forget_artefacts(contents: Iterable[JsonValue]) -> None:
    """Delete the bytes that no kept snapshot of the models names."""
    named = {
        str(row.get("kept"))
        for content in contents
        if isinstance(content, dict)
        for row in content.values()
        if isinstance(row, dict)
    }
    for path in _artefacts().glob("*"):
        if path.name not in named:
            path.unlink(missing_ok=True)


def restored_models(content: JsonValue, scratch: Path) -> JsonValue:
    """Put the kept bytes into tables of a scratch database as a model's own, and read them back."""
    if not isinstance(content, dict):
        return None
    engine = create_engine(f"sqlite:///{scratch / 'models.sqlite3'}")
    Base.metadata.create_all(
        engine, tables=[cast("Table", one.__table__) for one in (ModelArtifact, ModelAlias)]
    )
    with Session(engine) as session, session.begin():
        for name, row in content.items():
            one = row if isinstance(row, dict) else {}
            session.add(
                ModelArtifact(
                    id=one["artifact"], name=name, sha256=one["sha256"], state="LIVE",
                    content=artefact(str(one["kept"])),
                )
            )  # fmt: skip
            session.flush()
            session.add(ModelAlias(name=name, artifact_id=one["artifact"]))
    with Session(engine) as session:
        found = models(session)
    engine.dispose()
    return found


def restored_rows(content: JsonValue, scratch: Path) -> JsonValue:
    """Put the rows into a table of a scratch database and read them back."""
    if not isinstance(content, dict):
        return None
    metadata = MetaData()
    table = Table("rows", metadata, Column("name", Text, primary_key=True), Column("row", Text))
    engine = create_engine(f"sqlite:///{scratch / 'rows.sqlite3'}")
    with engine.begin() as connection:
        metadata.create_all(connection)
        rows = [{"name": name, "row": json.dumps(row)} for name, row in content.items()]
        if rows:
            connection.execute(table.insert(), rows)
    with engine.begin() as connection:
        found = {row.name: json.loads(row.row) for row in connection.execute(table.select())}
    engine.dispose()
    return found
