"""Last-known-good snapshots of configuration, schema, schedule and models.

A snapshot counts only after it was restored into a scratch place and what stands there was read
back and found to be the same. It is a file under the state folder's `snapshots/<kind>/`, with
the SHA-256 of its content; the newest few of each kind are kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Column, Connection, MetaData, Table, create_engine, inspect, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.types import Text

from homeostat.clock import from_iso, utcnow
from homeostat.errors import HomeostatError
from homeostat.settings import Settings, settings
from homeostat.store.beat import timetable
from homeostat.store.trading import ModelAlias, ModelArtifact

#: How many of each kind are kept: two days of hourly ones.
KEPT = 48
FOLDER = "snapshots"
#: Settings whose value may hold a password; a snapshot keeps their digest, so that a change shows.
_SECRET = ("database_url", "broker_url", "redis_url", "notify_urls")


class SnapshotError(HomeostatError):
    """The snapshot cannot be used: it is missing, damaged, or did not come back as it was."""


class Kind(StrEnum):
    """What is kept."""

    CONFIGURATION = "configuration"
    SCHEMA = "schema"
    SCHEDULE = "schedule"
    MODELS = "models"


@dataclass(frozen=True)
class Snapshot:
    """One snapshot that was proven to come back as it was."""

    kind: Kind
    at: datetime
    digest: str
    content: JsonValue
    path: Path


def take(session: Session, kind: Kind) -> Snapshot:
    """Capture, restore into a scratch place, compare, and only then keep.

    Raises SnapshotError where what came back differs.
    """
    content = _CAPTURE[kind](session)
    with tempfile.TemporaryDirectory() as scratch:
        back = _RESTORE[kind](content, Path(scratch))
    if back != content:
        raise SnapshotError(f"The snapshot of the {kind} did not come back as it was.")
    return _write(kind, content)


def take_all(session: Session) -> dict[str, Snapshot | str]:
    """Take one of each kind; where one fails, its reason stands in its place."""
    taken: dict[str, Snapshot | str] = {}
    for kind in Kind:
        try:
            taken[kind] = take(session, kind)
        except (SnapshotError, SQLAlchemyError, OSError) as error:
            taken[kind] = f"{type(error).__name__}: {error}"
    return taken


def newest(kind: Kind) -> Snapshot | None:
    """Return the newest snapshot of a kind that is undamaged; None where there is none."""
    for path in reversed(_files(kind)):
        try:
            return load(path)
        except SnapshotError:
            continue
    return None


def load(path: Path) -> Snapshot:
    """Read a snapshot; raises SnapshotError where its content is not what was written."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        snapshot = Snapshot(
            Kind(found["kind"]), from_iso(found["at"]), found["digest"], found["content"], path
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SnapshotError(f"The snapshot {path.name} cannot be read ({error}).") from error
    if _digest(snapshot.content) != snapshot.digest:
        raise SnapshotError(f"The snapshot {path.name} is damaged: its digest does not match.")
    return snapshot


def drift(session: Session, kind: Kind) -> dict[str, JsonValue] | None:
    """Return what differs from the newest snapshot, {} where nothing does, None without one."""
    last = newest(kind)
    if last is None:
        return None
    now = _CAPTURE[kind](session)
    if not isinstance(now, dict) or not isinstance(last.content, dict):
        return {} if now == last.content else {"content": "changed"}
    names = sorted(now.keys() | last.content.keys())
    return {
        name: {"was": last.content.get(name), "is": now.get(name)}
        for name in names
        if now.get(name) != last.content.get(name)
    }


def _write(kind: Kind, content: JsonValue) -> Snapshot:
    folder = settings().ensure_state_dir() / FOLDER / kind
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    at, digest = utcnow(), _digest(content)
    path = folder / f"{at:%Y%m%dT%H%M%S%f}.json"
    words = json.dumps(
        {"kind": kind, "at": at.isoformat(), "digest": digest, "content": content}, indent=1
    )
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_text(words, encoding="utf-8")
    aside.replace(path)
    for old in _files(kind)[:-KEPT]:
        old.unlink(missing_ok=True)
    return Snapshot(kind, at, digest, content, path)


def _files(kind: Kind) -> list[Path]:
    return sorted((settings().state_dir / FOLDER / kind).glob("*.json"))


def _digest(content: JsonValue) -> str:
    words = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(words.encode()).hexdigest()


def _configuration(session: Session) -> JsonValue:
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


def _restored_configuration(content: JsonValue, scratch: Path) -> JsonValue:
    del scratch
    if not isinstance(content, dict):
        return None
    # Kept digests stand for the secrets themselves, which are never written to a snapshot.
    plain = {n: v for n, v in content.items() if n not in (*_SECRET, "policy_digest")}
    found = Settings.model_validate({**plain, **dict.fromkeys(_SECRET, "")})
    kept = {name: content[name] for name in (*_SECRET, "policy_digest") if name in content}
    return {**found.model_dump(mode="json"), **kept}


def _schema(session: Session) -> JsonValue:
    return _tables(session.connection())


def _tables(connection: Connection) -> dict[str, JsonValue]:
    looked = inspect(connection)
    # A full-text index keeps tables of its own that follow from its declaration.
    names = [name for name in looked.get_table_names() if not name.startswith("library_index")]
    return {
        name: [
            f"{column['name']}{'' if column['nullable'] else ' not null'}"
            for column in looked.get_columns(name)
        ]
        for name in sorted(names)
    }


def _restored_schema(content: JsonValue, scratch: Path) -> JsonValue:
    if not isinstance(content, dict):
        return None
    metadata = MetaData()
    for name, columns in content.items():
        made = []
        for column in columns if isinstance(columns, list) else []:
            words = str(column)
            made.append(
                Column(words.removesuffix(" not null"), Text, nullable="not null" not in words)
            )
        Table(name, metadata, *made)
    engine = create_engine(f"sqlite:///{scratch / 'schema.sqlite3'}")
    with engine.begin() as connection:
        metadata.create_all(connection)
        found = _tables(connection)
    engine.dispose()
    return found


def _schedule(session: Session) -> JsonValue:
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


def _models(session: Session) -> JsonValue:
    statement = select(ModelAlias.name, ModelArtifact.id, ModelArtifact.sha256).join(
        ModelArtifact, ModelAlias.artifact_id == ModelArtifact.id
    )
    return {
        row.name: {"artifact": row.id, "sha256": row.sha256} for row in session.execute(statement)
    }


def _restored_rows(content: JsonValue, scratch: Path) -> JsonValue:
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


_CAPTURE: Mapping[Kind, Callable[[Session], Any]] = {
    Kind.CONFIGURATION: _configuration,
    Kind.SCHEMA: _schema,
    Kind.SCHEDULE: _schedule,
    Kind.MODELS: _models,
}
_RESTORE: Mapping[Kind, Callable[[Any, Path], JsonValue]] = {
    Kind.CONFIGURATION: _restored_configuration,
    Kind.SCHEMA: _restored_schema,
    Kind.SCHEDULE: _restored_rows,
    Kind.MODELS: _restored_rows,
}
