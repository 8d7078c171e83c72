"""Pointing a model's name to a challenger: an act under contract, with its decision on record.

What is read is the alias and whether the artefact behind it is whole and can be used here: a name
that points to bytes that nobody can load is no promotion.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat.clock import from_iso
from homeostat.store import decisions
from homeostat.store.trading import ModelAlias, ModelArtifact
from homeostat.supervision.contracts import Terms
from homeostat.supervision.ports import Verification
from homeostat.trading.models import artifacts, deep
from homeostat.trading.models.agent import ModelUnavailableError

PROMOTE = "model.promote"


class Placing:
    """The name of `challenger` points to it, and the artefact before it is retired."""

    def __init__(self, session: Session, challenger: ModelArtifact) -> None:
        """Take the challenger, and the transaction in which its name is changed."""
        self._session, self._challenger = session, challenger

    def expected(self) -> dict[str, JsonValue]:
        """Return what is to be read once the challenger is in service."""
        return {"artifact": self._challenger.id, "fault": ""}

    def read(self) -> dict[str, JsonValue]:
        """Return the alias, the states of both artefacts, and what is wrong with the one in it."""
        name = self._challenger.name
        # The database says what stands in it, and not what this process remembers.
        self._session.flush()
        self._session.expire(self._challenger)
        alias = self._session.get(ModelAlias, name, populate_existing=True)
        if alias is None:
            return {"artifact": None, "challenger": self._challenger.state, "fault": ""}
        return {
            "artifact": alias.artifact_id,
            "previous": alias.previous_id,
            "at": alias.at.isoformat(),
            "challenger": self._challenger.state,
            "fault": self._fault(name),
        }

    def _fault(self, name: str) -> str:
        try:
            found = artifacts.champion(self._session, name)
            # PyTorch would grow every worker: of a deep model only the bytes are looked at.
            if found is not None and name in artifacts.KINDS and name not in deep.NAMES:
                kind = artifacts.KINDS[name]
                kind.ready()
                # Not as this process may remember it: its bytes are read anew.
                kind.read(found.content)
        except (artifacts.ArtifactError, ModelUnavailableError) as error:
            return str(error)
        except (ValueError, TypeError, KeyError) as error:
            return f"The artefact cannot be read: {error}."
        return ""

    def act(self) -> None:
        """Point the name to the challenger."""
        with self._session.begin_nested():
            artifacts.promote(self._session, self._challenger)

    def undo(self, before: Mapping[str, JsonValue]) -> None:
        """Point the name to what it stood for, or to nothing, as it was."""
        alias = self._session.get(ModelAlias, self._challenger.name)
        self._challenger.state = str(before["challenger"])
        if alias is not None and before["artifact"] is None:
            self._session.delete(alias)
        elif alias is not None:
            alias.artifact_id, alias.at = str(before["artifact"]), from_iso(str(before["at"]))
            previous = before["previous"]
            alias.previous_id = None if previous is None else str(previous)
            older = self._session.get_one(ModelArtifact, alias.artifact_id)
            older.state = artifacts.CHAMPION
        self._session.flush()


def promote(
    session: Session, challenger: ModelArtifact, actor: str, verification: Verification
) -> str:
    """Point the name to the challenger; return why it was pointed back, or an empty text.

    Raises ActionRefusedError where governance does not let it go live now.
    """
    placing, was = Placing(session, challenger), _in_service(session, challenger)
    terms = Terms(PROMOTE, challenger.name, actor, placing.expected())
    outcome = verification.under_contract(session, terms, placing, risk="medium")
    known = {"challenger": challenger.id, "champion": was, **_figures(challenger)}
    if outcome.held:
        why = "it passed every test of a promotion"
        record(session, challenger, actor, PROMOTE, known, why, "promoted")
        return ""
    challenger.state = artifacts.REFUSED
    record(session, challenger, actor, PROMOTE, known, outcome.reason, str(outcome.state))
    return outcome.reason


def refuse(session: Session, challenger: ModelArtifact, actor: str, why: str) -> None:
    """Give the challenger up; its bytes are kept."""
    challenger.state, was = artifacts.REFUSED, _in_service(session, challenger)
    known = {"challenger": challenger.id, "champion": was, **_figures(challenger)}
    record(session, challenger, actor, PROMOTE, known, why, "refused")


def record(
    session: Session,
    artifact: ModelArtifact,
    actor: str,
    action: str,
    known: Mapping[str, JsonValue],
    why: str,
    outcome: str,
) -> None:
    """Write the decision record of one change of what is in service, or of its refusal."""
    other = "keep what is in service" if outcome in {"promoted", "rolled back"} else "put it there"
    decisions.record(
        session, component=actor, action=action, subject=artifact.name, inputs=known, rule=why,
        alternatives=[{"action": other, "because": why}], outcome=outcome,
    )  # fmt: skip


def _in_service(session: Session, challenger: ModelArtifact) -> str:
    alias = session.get(ModelAlias, challenger.name)
    return alias.artifact_id if alias is not None else ""


def _figures(challenger: ModelArtifact) -> dict[str, JsonValue]:
    metrics = challenger.metrics.items()
    return {name: value for name, value in metrics if isinstance(value, int | float)}
