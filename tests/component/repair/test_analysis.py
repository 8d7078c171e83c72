"""Where an incident goes: to the agent with a command that shows it, else visibly to a person."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from homeostat.incidents.call import Call
from homeostat.incidents.failure import Failure, Source
from homeostat.incidents.raised import Frame, Raised
from homeostat.incidents.recognition import report
from homeostat.repair.analysis import Analysis, Route, analyse
from homeostat.store import database
from tests.component.repair.conftest import MakeRepository, write

TEST = "from shop.prices import total\n\n\ndef test_total():\n    assert total([1]) == 1\n"


def analysed(kind: str, *frames: tuple[str, str], call: Call | None = None) -> Analysis:
    seen = tuple(
        Frame(module, function, "shop.py", 1, "total()", True) for module, function in frames
    )
    chain = (Raised(kind, "it broke", seen),)
    failure = Failure(Source.TASK, "shop", "shop.sell", chain, call=call)
    with database.transaction() as session:
        incident = report(session, failure)
        assert incident is not None
        return analyse(session, incident.id)


@pytest.fixture
def repository(make_mendable: MakeRepository) -> Path:
    return make_mendable({"tests/test_prices.py": TEST})


def test_a_failed_import_is_shown_by_the_import(repository: Path) -> None:
    seen = analysed("ImportError", ("shop.orders", "<module>"))
    assert seen.route is Route.CODING_AGENT
    assert seen.repository == repository
    assert seen.command.endswith('-c "import shop.orders"')


@pytest.mark.usefixtures("repository")
def test_a_failed_import_is_shown_where_it_struck_or_else_where_it_began() -> None:
    frames = (("shop.main", "run"), ("shop.orders", "<module>"), ("shop.prices", "<module>"))
    seen = analysed("ImportError", *frames)
    assert seen.command.endswith('-c "import shop.prices"')
    assert seen.instead.endswith('-c "import shop.orders"')


@pytest.mark.usefixtures("repository")
def test_an_import_in_a_function_is_shown_by_what_calls_the_function() -> None:
    seen = analysed("ImportError", ("shop", "<module>"), ("shop.prices", "total"))
    assert seen.command.endswith("-m pytest -x tests/test_prices.py")


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


CALL = Call("shop.prices", "total", ([1, "it's"],), {"discount": 0.5})


@pytest.mark.usefixtures("repository")
def test_what_no_test_names_is_shown_by_its_own_call() -> None:
    seen = analysed("TypeError", ("shop.prices", "nobody_tests_this"), call=CALL)
    assert seen.route is Route.CODING_AGENT
    words = shlex.split(seen.command)
    assert words[1:] == ["-c", CALL.code]


@pytest.mark.usefixtures("repository")
def test_behind_a_test_that_may_not_show_it_stands_the_call() -> None:
    seen = analysed("TypeError", ("shop.prices", "total"), call=CALL)
    assert seen.command.endswith("-m pytest -x tests/test_prices.py")
    assert shlex.split(seen.instead)[1:] == ["-c", CALL.code]


def test_a_call_into_a_source_folder_says_where_it_is(repository: Path) -> None:
    write(repository, {"src/till.py": "def receipt(): ...\n"})
    seen = analysed("TypeError", ("till", "receipt"), call=Call("till", "receipt", (), {}))
    assert shlex.split(seen.command)[0] == "PYTHONPATH=src"


@pytest.mark.usefixtures("repository")
def test_a_call_that_leads_out_of_the_repository_is_not_made() -> None:
    away = Call("json", "loads", ("{",), {})
    seen = analysed("TypeError", ("shop.prices", "nobody_tests_this"), call=away)
    assert (seen.route, "cannot be made again" in seen.reason) == (Route.PERSON, True)


@pytest.mark.usefixtures("sqlite_store")
def test_without_a_repository_a_person_is_asked() -> None:
    seen = analysed("TypeError", ("shop.prices", "total"))
    assert (seen.route, "HOMEOSTAT_REPOSITORY" in seen.reason) == (Route.PERSON, True)
