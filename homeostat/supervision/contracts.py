"""Acting under contract: say what is to change, look, act, look again, undo on mismatch.

Each contract is a row, written before the act; how it ended goes to the audit log and, once the
transaction is committed, to the bus (`contract.ended`). Whether the act is allowed at all is
governance's to say, and is asked before: by `kernels.verification_framework` for its callers, or
by the actor itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.errors import HomeostatError
from homeostat.store import audit, database
from homeostat.store.contracts import ActionContract, ContractState
from homeostat.supervision import events

TOPIC, PUBLISHER = "contract.ended", "kernels.verification_framework"


class CannotUndoError(HomeostatError):
    """The act has no way back, as a restart has none."""


class Effect(Protocol):
    """An act that can be looked at and undone."""

    def read(self) -> dict[str, JsonValue]:
        """Return what the act changes, as it is now."""

    def act(self) -> None:
        """Do it."""

    def undo(self, before: Mapping[str, JsonValue]) -> None:
        """Bring back what `read` returned before; raises CannotUndoError."""


@dataclass(frozen=True)
class Terms:
    """What a contract is about: the kind of act, on what, by whom, and what is to be read after."""

    kind: str
    subject: str
    actor: str
    expected: Mapping[str, JsonValue]


@dataclass(frozen=True)
class Outcome:
    """What came of an act: HELD, ROLLED_BACK, or BROKEN where even undoing failed."""

    state: ContractState
    before: dict[str, JsonValue]
    observed: dict[str, JsonValue]
    reason: str

    @property
    def held(self) -> bool:
        """Whether the act did what it was to do."""
        return self.state is ContractState.HELD


def carry_out(effect: Effect, expected: Mapping[str, JsonValue]) -> Outcome:
    """Act, and believe only what is then read; what does not match is undone, and that is read too.

    An act that changed nothing because it was so already does not count as done.
    """
    before = effect.read()
    if not _mismatch(expected, before):
        reason = "nothing to do: it was so already"
        return Outcome(ContractState.ROLLED_BACK, before, before, reason)
    try:
        effect.act()
        observed = effect.read()
        reason = _mismatch(expected, observed)
    except Exception as error:  # noqa: BLE001  # whatever the act raises, it must be undone
        observed, reason = {}, f"the act failed: {type(error).__name__}: {error}"
    if not reason:
        return Outcome(ContractState.HELD, before, observed, "")
    return _undone(effect, before, observed, reason)


def act(terms: Terms, effect: Effect) -> Outcome:
    """Carry out one act in transactions of its own, for a caller that has none open.

    Where the store does not answer the act goes ahead, because it may be the remedy for just
    that, and its contract is written afterwards.
    """
    before = effect.read()
    try:
        with database.transaction() as session:
            declared = declare(session, terms, before)
    except (HomeostatError, SQLAlchemyError):
        declared = ""
    outcome = carry_out(effect, terms.expected)
    with database.transaction() as session:
        settle(session, declared or declare(session, terms, before), outcome)
    return outcome


def within(session: Session, terms: Terms, effect: Effect) -> Outcome:
    """Carry out an act that is itself part of the caller's transaction, with its contract."""
    declared = declare(session, terms, effect.read())
    outcome = carry_out(effect, terms.expected)
    settle(session, declared, outcome)
    return outcome


def declare(session: Session, terms: Terms, before: Mapping[str, JsonValue]) -> str:
    """Write the contract before the act, so that one whose process died is seen."""
    contract = ActionContract(
        id=new_id(), kind=terms.kind, subject=terms.subject[:190], actor=terms.actor,
        expected=dict(terms.expected), before=dict(before), observed={},
        state=ContractState.ACTING, reason="",
    )  # fmt: skip
    session.add(contract)
    session.flush()
    return contract.id


def settle(session: Session, contract_id: str, outcome: Outcome) -> None:
    """Record what came of the act: in its row, in the audit log, and on the bus."""
    contract = session.get_one(ActionContract, contract_id)
    contract.state, contract.reason = outcome.state, outcome.reason
    contract.observed, contract.ended_at = dict(outcome.observed), utcnow()
    session.flush()
    told(session, contract)


def told(session: Session, contract: ActionContract) -> None:
    """Say of a contract that has ended how it did, in the audit log and on the bus."""
    audit.append(
        session, actor=contract.actor, action=f"contract.{contract.state}",
        resource=contract.subject, decision=contract.kind[:64], subsystem=contract.actor,
        payload={
            "contract": contract.id, "expected": contract.expected, "before": contract.before,
            "observed": contract.observed,
        },
        result=contract.reason[:255] or str(contract.state),
    )  # fmt: skip
    payload: dict[str, JsonValue] = {
        "contract": contract.id, "kind": contract.kind, "subject": contract.subject,
        "by": contract.actor, "state": contract.state, "reason": contract.reason,
    }  # fmt: skip
    events.tell(session, TOPIC, payload, publisher=PUBLISHER, key=contract.subject)


def _undone(
    effect: Effect, before: dict[str, JsonValue], observed: dict[str, JsonValue], reason: str
) -> Outcome:
    try:
        effect.undo(before)
        after = effect.read()
    except Exception as error:  # noqa: BLE001  # reported, whatever it is
        why = f"{reason}; undoing failed: {type(error).__name__}: {error}"
        return Outcome(ContractState.BROKEN, before, observed, why)
    if after != before:
        why = f"{reason}; undone, and yet it reads {after}"
        return Outcome(ContractState.BROKEN, before, observed, why)
    return Outcome(ContractState.ROLLED_BACK, before, observed, reason)


def _mismatch(expected: Mapping[str, JsonValue], observed: Mapping[str, JsonValue]) -> str:
    for name, value in expected.items():
        if name not in observed or observed[name] != value:
            return f"{name} was to be {value!r} and is {observed.get(name)!r}"
    return ""
