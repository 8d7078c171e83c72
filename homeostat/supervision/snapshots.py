"""Last-known-good snapshots of configuration, schema, schedule and models.

A snapshot counts only after it was restored into a scratch place and what stands there was read
back and found to be the same. It is a file under the state folder's `snapshots/<kind>/`, with
the SHA-256 of its content; the newest few of each kind are kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from homeostat.clock import from_iso, utcnow
from homeostat.errors import HomeostatError
from homeostat.settings import settings
from homeostat.supervision import snapshot_kinds
from homeostat.supervision.snapshot_kinds import FOLDER

#: How many of each kind are kept: two days of hourly ones.
KEPT = 48


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
    content: Any
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
    if kind is Kind.MODELS:
        snapshot_kinds.forget_artefacts(_contents(kind))
    return Snapshot(kind, at, digest, content, path)


def thin(keep: int) -> int:
    """Delete all but the newest `keep` of each kind, and return how many that were."""
    old = [path for kind in Kind for path in _files(kind)[:-keep]]
    for path in old:
        path.unlink(missing_ok=True)
    snapshot_kinds.forget_artefacts(_contents(Kind.MODELS))
    return len(old)


def _contents(kind: Kind) -> Iterator[JsonValue]:
    for path in _files(kind):
        with contextlib.suppress(SnapshotError):
            yield load(path).content


def _files(kind: Kind) -> list[Path]:
    return sorted((settings().state_dir / FOLDER / kind).glob("*.json"))


def _digest(content: JsonValue) -> str:
    words = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(words.encode()).hexdigest()


_CAPTURE: Mapping[Kind, Callable[[Session], Any]] = {
    Kind.CONFIGURATION: snapshot_kinds.configuration,
    Kind.SCHEMA: snapshot_kinds.schema,
    Kind.SCHEDULE: snapshot_kinds.schedule,
    Kind.MODELS: snapshot_kinds.models,
}
_RESTORE: Mapping[Kind, Callable[[Any, Path], JsonValue]] = {
    Kind.CONFIGURATION: snapshot_kinds.restored_configuration,
    Kind.SCHEMA: snapshot_kinds.restored_schema,
    Kind.SCHEDULE: snapshot_kinds.restored_rows,
    Kind.MODELS: snapshot_kinds.restored_models,
}
