"""What this kernel observes itself: drift of configuration, packages, code, models, errors, fields.

Each observer compares the present with a baseline and returns what differs, once: what was told
becomes the new baseline. Baselines of this host lie in a file of the state folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat import syntax
from homeostat.clock import utcnow
from homeostat.settings import Settings
from homeostat.store import checks
from homeostat.store.incidents import Incident, OccurrenceCount
from homeostat.store.trading import ModelAlias, ModelArtifact

BASELINES = "baselines.json"
#: So many alike within so long are a storm (spec: at least five alike).
ALIKE, ALIKE_WITHIN = 5, timedelta(minutes=10)
_ROOT = Path(__file__).parents[3]
_CODE_ROOMS = ("homeostat", "workers", "tasks")

Facts = dict[str, str]


@dataclass(frozen=True)
class Observation:
    """One thing that differs."""

    kind: str
    subject: str
    detail: dict[str, JsonValue] = field(default_factory=dict)

    def payload(self) -> dict[str, JsonValue]:
        """Return the payload of its event."""
        return {**self.detail, "kind": self.kind, "subject": self.subject}


def configuration(settings: Settings) -> Facts:
    """Return a digest per setting, and of the policy file: never a value."""
    facts = {name: _digest(repr(value)) for name, value in settings.model_dump().items()}
    facts["secrets_key"] = _digest(settings.secrets_key.get_secret_value())
    if settings.policy_file is not None:
        try:
            facts["policy file's content"] = _digest(settings.policy_file.read_text("utf-8"))
        except OSError as error:
            facts["policy file's content"] = f"unreadable: {error.strerror}"
    return facts


def packages(_settings: Settings) -> Facts:
    """Return the version of every installed package."""
    return {
        str(one.metadata["Name"]).lower(): one.version for one in distributions() if one.metadata
    }


def code(_settings: Settings) -> Facts:
    """Return a digest of every source file of the system."""
    return {
        str(path.relative_to(_ROOT)): _digest_of_file(path, path.stat().st_mtime_ns)
        for room in _CODE_ROOMS
        for path in sorted((_ROOT / room).rglob("*.py"))
    }


#: Observation → how its facts are gathered on this host.
LOCAL: Mapping[str, Callable[[Settings], Facts]] = {
    "config_drift": configuration,
    "dependency_regression": packages,
    "code_diff": code,
}
#: Everything that is observed here.
KINDS = frozenset({*LOCAL, "model_integrity", "error_feed", "telemetry_drift"})


def compare(kind: str, before: Facts, now: Facts) -> list[Observation]:
    """Return what differs: one observation per setting or package, one for all source files.

    A package that is new breaks nothing that worked, and is no regression.
    """
    differing = [
        name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)
    ]
    if kind == "code_diff":
        return [_of_code(differing, now)] if differing else []
    return [
        Observation(kind, name, {"before": before.get(name), "now": now.get(name)})
        for name in differing
        if kind != "dependency_regression" or name in before
    ]


def _of_code(files: list[str], now: Facts) -> Observation:
    broken: list[JsonValue] = [name for name in files if name in now and not _parses(_ROOT / name)]
    shown: list[JsonValue] = list(files[:20])
    detail: dict[str, JsonValue] = {"files": len(files), "named": shown, "broken": broken[:20]}
    return Observation("code_diff", "source", detail)


def _parses(path: Path) -> bool:
    try:
        syntax.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return False
    return True


def models(session: Session) -> list[Observation]:
    """Return the models in service whose bytes do not match their recorded digest."""
    rows = session.execute(
        select(ModelAlias.name, ModelArtifact.content, ModelArtifact.sha256).join(
            ModelArtifact, ModelArtifact.id == ModelAlias.artifact_id
        )
    )
    return [
        Observation("model_integrity", name)
        for name, content, recorded in rows
        if hashlib.sha256(content).hexdigest() != recorded
    ]


def errors(session: Session) -> list[Observation]:
    """Return the incidents of which at least five alike occurred within ten minutes.

    What a trigger itself reported is left out, or a storm would feed itself.
    """
    rows = session.execute(
        select(Incident.id, Incident.label, Incident.component, func.sum(OccurrenceCount.count))
        .join(OccurrenceCount, OccurrenceCount.incident_id == Incident.id)
        .where(OccurrenceCount.starts_at >= utcnow() - ALIKE_WITHIN, Incident.source != "trigger")
        .group_by(Incident.id, Incident.label, Incident.component)
        .having(func.sum(OccurrenceCount.count) >= ALIKE)
    )
    return [
        Observation(
            "error_feed", incident, {"label": label, "component": component, "count": int(count)}
        )
        for incident, label, component, count in rows
    ]


def telemetry(session: Session) -> Facts:
    """Return, per component, the fields that its last passed probe reported."""
    facts = {}
    for name, lease in checks.leases(session).items():
        observed: Any = (lease.evidence or {}).get("observed") or {}
        if lease.probe_passed and observed:
            facts[name] = json.dumps(sorted(observed))
    return facts


def dropped_fields(before: Facts, now: Facts) -> list[Observation]:
    """Return the fields that a component reported before and does not report any more."""
    found = []
    for name in before.keys() & now.keys():
        gone = set(json.loads(before[name])) - set(json.loads(now[name]))
        found += [Observation("telemetry_drift", name, {"field": one}) for one in sorted(gone)]
    return found


def read_baselines(settings: Settings) -> dict[str, Facts]:
    """Return the baselines of this host; empty before the first look or where they are broken."""
    try:
        found = json.loads((settings.state_dir / BASELINES).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_baselines(settings: Settings, baselines: Mapping[str, Facts]) -> None:
    """Keep what is known by now."""
    path = settings.state_dir / BASELINES
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_text(json.dumps(baselines), "utf-8")
    aside.replace(path)


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:16]


@lru_cache(maxsize=4096)
def _digest_of_file(path: Path, changed_ns: int) -> str:
    # The time is part of the key so that only what changed is read again.
    del changed_ns
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
