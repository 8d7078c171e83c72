"""The contract that every component and plugin keeps, as one function for a test to call."""

from __future__ import annotations

from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.component import Component, CycleResult, Evidence, NoRemedyError


class ContractBrokenError(AssertionError):
    """The component does not keep the contract of homeostat.component."""


def check_contract(component: Component, session: Session) -> Evidence:
    """Boot, probe and run the component once for real, and hold each answer to the contract.

    The session is rolled back by the caller or not, as it likes. Returns the probe's evidence;
    raises ContractBrokenError with the first clause that is broken.
    """
    spec = component.spec
    _hold(bool(spec.summary.strip()), "the spec says in a sentence what the component is for")
    _hold(spec.full_name not in spec.needs, "no component needs itself")
    for verb, act in (("boot", component.boot), ("probe", component.probe)):
        evidence = act(session)
        _hold(isinstance(evidence, Evidence), f"{verb} returns Evidence")
        _hold(evidence.passed, f"{verb} passes on a healthy system, and saw {evidence.observed}")
        _hold(bool(evidence.observed), f"{verb} says what it observed")
    result = component.run(session, utcnow())
    _hold(isinstance(result, CycleResult), "run returns a CycleResult")
    _hold(bool(result.observed), "run says what it did")
    try:
        component.heal(session, "no such remedy")
    except NoRemedyError:
        pass
    else:
        _hold(False, "heal refuses a remedy that it does not have")
    return evidence


def _hold(kept: bool, clause: str) -> None:  # noqa: FBT001  # reads as a sentence at its calls
    if not kept:
        raise ContractBrokenError(f"The contract says: {clause}.")
