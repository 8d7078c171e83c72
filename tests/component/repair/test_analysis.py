"""Where an incident goes: to the agent with a command that shows it, else visibly to a person."""

from __future__ import annotations

from pathlib import Path

import pytest

from homeostat.incidents.failure import Failure, Source
from homeostat.incidents.raised import Frame, Raised
from homeostat.incidents.recognition import report
from homeostat.repair.analysis import Analysis, Route, analyse
from homeostat.store import database
from tests.component.repair.conftest import MakeRepository
from tests.conftest import forget_settings

TEST = "from shop.prices import total\n\n\ndef test_total():\n    assert total([1]) == 1\n"


def analysed(kind: str, *frames: tuple[str, str]) -> Analysis:
    seen = tuple(
        Frame(module, function, "shop.py", 1, "total()", True) for module, function in frames
    )
    failure = Failure(Source.TASK, "shop", "shop.sell", (Raised(kind, "it broke", seen),))
    with database.transaction() as session:
        incident = report(session, failure)
        assert incident is not None
        return analyse(session, incident.id)


@pytest.fixture
def repository(
    make_repository: MakeRepository, sqlite_store: str, monkeypatch: pytest.MonkeyPatch
) -> Path:
    assert sqlite_store
    made = make_repository({"tests/test_prices.py": TEST})
    monkeypatch.setenv("HOMEOSTAT_REPOSITORY", str(made))
    forget_settings()
    return made


def test_a_failed_import_is_shown_by_the_import(repository: Path) -> None:
    seen = analysed("ImportError", ("shop.orders", "<module>"))
    assert seen.route is Route.CODING_AGENT
    assert seen.repository == repository
    assert seen.command.endswith('-c "import shop.orders"')


@pytest.mark.usefixtures("repository")
def test_another_failure_is_shown_by_the_tests_that_name_its_function() -> None:
    seen = analysed("TypeError", ("shop.prices", "total"))
    assert seen.route is Route.CODING_AGENT
    assert seen.command.endswith("-m pytest -x tests/test_prices.py")


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("frames", [(), (("shop.prices", "nobody_tests_this"),)])
def test_without_a_way_to_show_it_a_person_is_asked(frames: tuple[tuple[str, str], ...]) -> None:
    seen = analysed("TypeError", *frames)
    assert seen.route is Route.PERSON
    assert seen.reason


@pytest.mark.usefixtures("sqlite_store")
def test_without_a_repository_a_person_is_asked() -> None:
    seen = analysed("TypeError", ("shop.prices", "total"))
    assert (seen.route, "HOMEOSTAT_REPOSITORY" in seen.reason) == (Route.PERSON, True)
