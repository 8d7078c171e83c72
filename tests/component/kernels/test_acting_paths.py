"""No path applies an action that policy refuses: each is tried under policies that refuse it."""

from __future__ import annotations

from itertools import chain

import pytest

from homeostat.incidents import lifecycle
from homeostat.incidents.lifecycle import State
from homeostat.kernels.governance import FREEZE
from homeostat.kernels.governance.policy import Verdict, load
from homeostat.repair.sandbox import Isolation, detect_isolation
from homeostat.settings import settings
from homeostat.store import approvals, controls
from homeostat.store.database import transaction
from tests.component.kernels.acting_paths import (
    BY_A_PERSONS_WORD,
    BY_ITSELF,
    Acts,
    a_plan,
    a_refactoring_that_a_person_approved,
    proven_repair,
    pursued,
)
from tests.conftest import forget_settings

pytestmark = pytest.mark.usefixtures("sqlite_store")

ALL = '[[rules]]\nname = "all"\nactions = ["*"]\nverdict = '
ALLOWS, ASKS, REFUSES = f'{ALL}"allow"', f'{ALL}"approve"', f'{ALL}"refuse"'
NAMES_NOTHING = '[[rules]]\nname = "another"\nactions = ["another.act"]\nverdict = "allow"'
UNREADABLE = "rules = ]"
#: How nothing may happen, by itself or on a person's word: the policy and the mode.
REFUSALS = {
    "a rule refuses it": (REFUSES, "ENFORCED"),
    "no rule names it": (NAMES_NOTHING, "ENFORCED"),
    "the policy cannot be read": (UNREADABLE, "ENFORCED"),
    "the mode is OFF": (ALLOWS, "OFF"),
}
#: How nothing may happen by itself. A plan may: it only leads to proposals, and each of its acts
#: asks for itself.
HELD_BACK = {
    **REFUSALS,
    "the mode is OBSERVE": (ALLOWS, "OBSERVE"),
    "the mode is ADVISORY": (ALLOWS, "ADVISORY"),
    "a person is to be asked": (ASKS, "ENFORCED"),
}
ALONE = list(chain.from_iterable(BY_ITSELF.values()))
TOLD = list(chain.from_iterable(BY_A_PERSONS_WORD.values()))


@pytest.fixture
def govern(monkeypatch: pytest.MonkeyPatch) -> Govern:
    return Govern(monkeypatch)


class Govern:
    """Puts a policy and a mode in force."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def __call__(self, policy: str, mode: str = "ENFORCED") -> None:
        file = settings().ensure_state_dir() / "policy.toml"
        file.write_text(policy)
        self._patch.setenv("HOMEOSTAT_POLICY_FILE", str(file))
        self._patch.setenv("HOMEOSTAT_MODE", mode)
        forget_settings()


def needs_what(acts: Acts) -> None:
    if acts is a_refactoring_that_a_person_approved and (
        detect_isolation() is not Isolation.BUBBLEWRAP
    ):
        pytest.skip("bubblewrap does not work here")


@pytest.mark.parametrize(
    ("acts", "how"),
    [(acts, how) for acts in ALONE for how in (REFUSALS if acts is a_plan else HELD_BACK)],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
def test_nothing_acts_by_itself_where(acts: Acts, how: str, govern: Govern) -> None:
    govern(ALLOWS)
    acting = acts()
    assert next(acting) is False
    govern(*HELD_BACK[how])
    assert next(acting) is False


@pytest.mark.parametrize(
    "acts", [acts for acts in ALONE if acts is not a_plan], ids=lambda acts: acts.__name__
)
def test_nothing_acts_by_itself_while_changes_are_frozen(acts: Acts, govern: Govern) -> None:
    govern(ALLOWS)
    acting = acts()
    assert next(acting) is False
    with transaction() as session:
        controls.set_on(session, FREEZE, actor="ada", reason="release")
    assert next(acting) is False


@pytest.mark.parametrize("how", REFUSALS)
@pytest.mark.parametrize("acts", TOLD, ids=lambda acts: acts.__name__)
def test_no_approval_helps_where(how: str, acts: Acts, govern: Govern) -> None:
    needs_what(acts)
    govern(ASKS)
    acting = acts()
    assert next(acting) is False
    govern(*REFUSALS[how])
    assert next(acting) is False


@pytest.mark.parametrize("acts", [*ALONE, *TOLD], ids=lambda acts: acts.__name__)
def test_it_does_act_where_policy_lets_it(acts: Acts, govern: Govern) -> None:
    """Otherwise the tests above would pass on a path that never acts at all."""
    needs_what(acts)
    govern(ALLOWS if acts in ALONE else ASKS)
    acting = acts()
    assert next(acting) is False
    assert next(acting) is True


@pytest.mark.parametrize("policy", [REFUSES, NAMES_NOTHING, UNREADABLE])
def test_a_proven_fix_that_no_approval_can_let_in_goes_to_a_person(
    policy: str, govern: Govern
) -> None:
    govern(policy)
    repair = proven_repair("ask")
    assert not pursued(repair)
    with transaction() as session:
        assert lifecycle.find(session, repair.incident_id).state == State.ESCALATED
        assert approvals.waiting(session) == []


def test_the_shipped_policy_names_what_the_paths_ask_for_and_nothing_else() -> None:
    """An act that no rule names is refused, so a new path cannot act before it stands here."""
    named = {
        action
        for rule in load(None).rules
        if rule.verdict is not Verdict.REFUSE
        for action in rule.actions
    }
    assert named == {*BY_ITSELF, *BY_A_PERSONS_WORD}
