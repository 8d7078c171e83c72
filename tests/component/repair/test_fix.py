"""Each class of defect, mended in a real repository and proven in the real sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from homeostat.repair.agent import Apply, Options, RepairOutcome, Status, fix
from homeostat.repair.sandbox import Isolation, detect_isolation
from homeostat.settings import Mode
from tests.component.repair.conftest import GOOD, MakeRepository, git

pytestmark = pytest.mark.skipif(
    detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
)

COMMAND = "python user.py"
PRICES, ORDERS, SHOP = GOOD["shop/prices.py"], GOOD["shop/orders.py"], GOOD["shop/__init__.py"]

#: name → (drift, whether the evidence lets it be applied without a person and without history)
DRIFT: dict[str, tuple[dict[str, str | None], bool]] = {
    "renamed parameter": (
        {"shop/prices.py": PRICES.replace("discount=", "discount_rate=").replace("- discount)", "- discount_rate)")},
        True,
    ),
    "dropped default that the body handles": (
        {"shop/prices.py": PRICES.replace("places=None", "places").replace("discount=0.0, places", "discount, places").replace("discount, places)", "discount=0.0, *, places)")},
        True,
    ),
    "renamed function": ({"shop/prices.py": PRICES.replace("def total", "def total_v2")}, True),
    "renamed method": ({"shop/orders.py": ORDERS.replace("def amount", "def get_amount")}, True),
    "dropped export": ({"shop/__init__.py": SHOP.replace("Order, place", "Order").replace('"place", ', "")}, True),
    "dropped import": ({"shop/prices.py": PRICES.replace("import math\n", "")}, True),
    "moved module": ({"shop/orders.py": None, "shop/orders_impl.py": ORDERS}, True),
    "circular import": (
        {"shop/prices.py": PRICES.replace("import math\n", "import math\n\nfrom .orders import Order\n")},
        True,
    ),
    "dropped parameter": (
        {"shop/orders.py": ORDERS.replace("prices, note=None):\n        self", "prices):\n        self").replace("        self.note = note\n", "")},
        False,
    ),
    "dropped parameter whose constant stands in its place": (
        {"shop/orders.py": ORDERS.replace("prices, note=None):\n        self", "prices):\n        self").replace("self.note = note", "self.note = None")},
        True,
    ),
    "two dropped parameters of one call": (
        {"shop/orders.py": ORDERS.replace("prices, note=None):\n        self", "\n    ):\n        self").replace("        self.prices = prices\n        self.note = note\n", "")},
        False,
    ),
    "deleted package file": ({"shop/__init__.py": None}, False),
}  # fmt: skip


def mend(repository: Path, **options: object) -> RepairOutcome:
    return fix(repository, COMMAND, Options(apply=Apply.POLICY, **options))  # type: ignore[arg-type]  # test shorthand


@pytest.mark.parametrize("name", DRIFT)
def test_it_mends_the_api_and_leaves_its_callers_alone(
    name: str, make_repository: MakeRepository
) -> None:
    drift, by_itself = DRIFT[name]
    repository = make_repository(drift)
    outcome = mend(repository)
    assert outcome.proven, [item.proof.refusal for item in outcome.refused]
    assert outcome.chosen is not None
    assert "user.py" not in outcome.chosen.candidate.changes
    assert (repository / "user.py").read_text() == GOOD["user.py"]
    assert outcome.status is (Status.APPLIED if by_itself else Status.WAITING)
    assert [step.name for step in outcome.chosen.proof.steps][:5] == [
        "isolation", "scope", "lint", "types", "replay",
    ]  # fmt: skip
    if by_itself:
        assert fix(repository, COMMAND).status is Status.HEALTHY
        assert git(repository, "status", "--porcelain") == ""
    else:
        assert git(repository, "log", "--format=%s", "-1") == "Drift"


@pytest.mark.parametrize("name", DRIFT)
def test_with_history_it_restores_what_stood_there(
    name: str, make_repository: MakeRepository
) -> None:
    repository = make_repository(DRIFT[name][0], history=True)
    outcome = mend(repository)
    assert outcome.status is Status.APPLIED, [item.proof.refusal for item in outcome.refused]
    assert outcome.chosen is not None
    assert outcome.chosen.candidate.strategy == "version_history"
    for path, text in GOOD.items():
        assert (repository / path).read_text() == text
    assert not (repository / "shop/orders_impl.py").exists()


def test_a_dropped_parameter_is_stored_as_its_siblings_are_and_its_value_seen_there(
    make_repository: MakeRepository,
) -> None:
    outcome = mend(make_repository(DRIFT["dropped parameter"][0]))
    assert outcome.chosen is not None
    text = outcome.chosen.candidate.changes["shop/orders.py"]
    assert text is not None
    assert "self.note = note" in text
    replay = next(step for step in outcome.chosen.proof.steps if step.name == "replay")
    assert replay.observed["parameters"] == {"Order.__init__:note": "the object"}


def test_uncommitted_damage_is_restored_from_the_last_commit(
    make_repository: MakeRepository,
) -> None:
    repository = make_repository({}, history=False)
    (repository / "shop/prices.py").write_text(PRICES.replace("def total", "def sum_up"))
    assert mend(repository).status is Status.APPLIED
    assert (repository / "shop/prices.py").read_text() == PRICES


def test_a_healthy_command_is_left_alone(make_repository: MakeRepository) -> None:
    repository = make_repository({})
    assert mend(repository).status is Status.HEALTHY
    assert git(repository, "rev-list", "--count", "HEAD") == "1"


def test_what_it_cannot_mend_it_refuses_or_says_so(make_repository: MakeRepository) -> None:
    repository = make_repository(
        {"shop/prices.py": PRICES.replace("(1 - discount)", "(2 - discount)")}
    )
    outcome = mend(repository)
    assert outcome.status in {Status.NONE_FOUND, Status.REFUSED}
    assert git(repository, "log", "--format=%s") == "Drift"


def test_in_advisory_mode_it_only_proposes(make_repository: MakeRepository) -> None:
    repository = make_repository(DRIFT["dropped import"][0])
    outcome = mend(repository, mode=Mode.ADVISORY)
    assert outcome.status is Status.WAITING
    assert git(repository, "log", "--format=%s") == "Drift"


def test_a_renamed_parameter_with_users_of_the_new_name_waits(
    make_repository: MakeRepository,
) -> None:
    drift = dict(DRIFT["renamed parameter"][0])
    drift["shop/more.py"] = "from .prices import total\n\nHALF = total([1], discount_rate=0.5)\n"
    outcome = mend(make_repository(drift))
    assert outcome.status in {Status.WAITING, Status.REFUSED}


def test_a_command_of_a_missing_repository_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="is no git checkout"):
        fix(tmp_path, COMMAND)


def test_files_that_only_their_owner_may_read_are_mended_as_well(
    make_repository: MakeRepository,
) -> None:
    repository = make_repository(DRIFT["renamed parameter"][0])
    for path in repository.rglob("*.py"):
        path.chmod(0o600)
    (repository / "shop").chmod(0o700)
    outcome = fix(repository, COMMAND, Options(apply=Apply.POLICY))
    assert outcome.status is Status.APPLIED, outcome.failure
    assert (repository / "shop/prices.py").stat().st_mode & 0o777 == 0o600
