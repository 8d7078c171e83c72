"""The artefacts: kept whole, in service by an atomic alias, and taken back byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.errors import HomeostatError
from homeostat.store import controls
from homeostat.store.prepared import Prepared
from homeostat.store.trading import (
    ModelAlias,
    ModelArtifact,
    ModelPrediction,
    newest_prediction,
)
from homeostat.trading.models import deep
from homeostat.trading.models.agent import (
    BASELINE,
    BOOSTED,
    ENSEMBLE,
    Agent,
    Ensemble,
    EwmaModel,
    ModelUnavailableError,
)
from homeostat.trading.models.boosted import BoostedModel, library
from homeostat.trading.models.foretold import Foretold

CHAMPION, CHALLENGER, RETIRED, REFUSED = "CHAMPION", "CHALLENGER", "RETIRED", "REFUSED"


_READ: dict[str, Agent] = {}
_MOST_READ = 16


class ArtifactError(HomeostatError):
    """A model's artefact is missing or does not match its digest."""


@dataclass(frozen=True)
class Kind:
    """How the artefacts of one name are read, and what must load before they can be used."""

    read: Callable[[bytes], Agent]
    ready: Callable[[], Any] = lambda: None


#: The models that may be in service, by the name of their artefacts.
KINDS: Mapping[str, Kind] = {
    BASELINE: Kind(EwmaModel.of),
    BOOSTED: Kind(BoostedModel.of, library),
    **dict.fromkeys(deep.NAMES, Kind(deep.DeepModel.of, deep.present)),
}


def champion(session: Session, name: str) -> ModelArtifact | None:
    """Return the artefact in service; None where the name has none.

    Raises ArtifactError where its bytes do not match their digest.
    """
    alias = session.get(ModelAlias, name)
    if alias is None:
        return None
    return _whole(session.get(ModelArtifact, alias.artifact_id), name)


_ALIAS, _ARTIFACT = ModelAlias.__table__.c, ModelArtifact.__table__.c
# Every cycle asks this, so the statement is made once.
_IN_SERVICE = Prepared(
    select(_ALIAS.name, _ALIAS.artifact_id, _ARTIFACT.sha256)
    .join_from(ModelAlias.__table__, ModelArtifact.__table__, _ARTIFACT.id == _ALIAS.artifact_id)
    .order_by(_ALIAS.name)
)


def file(
    session: Session, name: str, content: bytes, metrics: Mapping[str, Any], samples: int = 0
) -> ModelArtifact:
    """Keep a trained challenger; its shadow period begins now."""
    artifact = ModelArtifact(
        name=name,
        sha256=hashlib.sha256(content).hexdigest(),
        content=content,
        metrics=dict(metrics),
        state=CHALLENGER,
        trained_at=utcnow(),
        samples=samples,
    )
    session.add(artifact)
    session.flush()
    return artifact


def promote(session: Session, challenger: ModelArtifact) -> None:
    """Point the name to the challenger, remembering what it pointed to."""
    alias = session.get(ModelAlias, challenger.name, with_for_update=True)
    if alias is None:
        session.add(ModelAlias(name=challenger.name, artifact_id=challenger.id, at=utcnow()))
    else:
        session.get_one(ModelArtifact, alias.artifact_id).state = RETIRED
        alias.previous_id, alias.artifact_id = alias.artifact_id, challenger.id
        alias.at = utcnow()
    challenger.state = CHAMPION
    session.flush()


def roll_back(session: Session, name: str) -> ModelArtifact:
    """Point the name to the older artefact and return it; raises ArtifactError without one."""
    alias = session.get(ModelAlias, name, with_for_update=True)
    if alias is None or alias.previous_id is None:
        raise ArtifactError(f"The model {name} has no older artefact to go back to.")
    older = _whole(session.get(ModelArtifact, alias.previous_id), name)
    session.get_one(ModelArtifact, alias.artifact_id).state = RETIRED
    alias.artifact_id, alias.previous_id, alias.at = older.id, None, utcnow()
    older.state = CHAMPION
    session.flush()
    return older


def in_service(session: Session) -> Agent:
    """Return the model that gives the signals: all champions together, or the untrained baseline.

    A champion that cannot be used here is left out by its typed reason, which the journal keeps;
    a corrupt baseline raises ArtifactError, because then nothing is left to trust.
    """
    members: list[Agent] = []
    absent: dict[str, str] = {}
    for name, identity, digest in _IN_SERVICE.rows(session):
        if name not in KINDS:
            continue
        try:
            members.append(_usable(session, name, identity, digest))
        except ModelUnavailableError as error:
            absent[name] = error.reason
    if not members:
        members.append(EwmaModel())
    return members[0] if len(members) == 1 and not absent else Ensemble(tuple(members), absent)


def _usable(session: Session, name: str, identity: str, digest: str) -> Agent:
    """Return the champion's agent; raises ModelUnavailableError, or ArtifactError (baseline)."""
    if name != BASELINE and controls.is_on(session, controls.MODEL_DISABLED + name):
        raise ModelUnavailableError("DISABLED", f"The model {name} is switched off.")
    if name in deep.NAMES:
        # PyTorch would grow every worker by half a gigabyte: it speaks on the queue `models`.
        return Foretold.of(name, digest, newest_prediction(session, digest))
    KINDS[name].ready()
    try:
        return _read(name, digest, lambda: session.get(ModelArtifact, identity))
    except ArtifactError as error:
        if name == BASELINE:
            raise
        raise ModelUnavailableError("ARTIFACT_CORRUPT", str(error)) from error


def agent_of(artifact: ModelArtifact) -> Agent:
    """Return the artefact as an agent; raises ArtifactError or ModelUnavailableError."""
    KINDS[artifact.name].ready()
    return _read(artifact.name, artifact.sha256, lambda: artifact)


def recall(session: Session, reference: Mapping[str, Any]) -> Agent:
    """Return the agent that a journal's reference names; raises ArtifactError where it is gone."""
    name = str(reference["name"])
    if name == ENSEMBLE:
        members = tuple(recall(session, one) for one in reference["members"])
        return Ensemble(members, dict(reference["absent"]))
    digest = reference.get("sha256")
    if digest is None:
        return EwmaModel(**{key: value for key, value in reference.items() if key != "name"})
    if name in deep.NAMES:
        said = session.get(ModelPrediction, (str(digest), int(reference["bar"])))
        if said is None and reference["bar"] >= 0:
            raise ArtifactError(f"What {name} said at that bar is no longer kept.")
        return Foretold.of(name, str(digest), said)
    found = select(ModelArtifact).where(ModelArtifact.sha256 == digest).limit(1)
    return _read(name, str(digest), lambda: session.scalar(found))


def _read(name: str, digest: str, load: Callable[[], ModelArtifact | None]) -> Agent:
    """Return the agent of a digest; a ticking process parses an artefact once, not every minute."""
    if digest not in _READ:
        artifact = _whole(load(), name)
        if artifact.sha256 != digest:
            raise ArtifactError(f"The artefact of the model {name} was exchanged; train it anew.")
        if len(_READ) >= _MOST_READ:
            _READ.clear()
        try:
            _READ[digest] = KINDS[name].read(artifact.content)
        except (ValueError, TypeError, KeyError) as error:
            raise ArtifactError(f"The artefact of the model {name} cannot be read.") from error
    return _READ[digest]


def _whole(artifact: ModelArtifact | None, name: str) -> ModelArtifact:
    if artifact is None:
        raise ArtifactError(f"The artefact of the model {name} is missing; train it anew.")
    if hashlib.sha256(artifact.content).hexdigest() != artifact.sha256:
        raise ArtifactError(
            f"The artefact of the model {name} is corrupt; roll it back or train it anew."
        )
    return artifact
