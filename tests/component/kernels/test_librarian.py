from __future__ import annotations

from pathlib import Path

import pytest

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.incidents.failure import Failure
from homeostat.incidents.recognition import report
from homeostat.kernels.librarian import Librarian
from homeostat.settings import settings
from homeostat.store.database import transaction
from homeostat.supervision.reading_room import RUNBOOKS as FOLDER
from homeostat.supervision.reading_room import Text, docstrings, sections
from homeostat.testing import check_contract
from tests.component.kernels.library_questions import LABELLED, RUNBOOKS

pytestmark = pytest.mark.usefixtures("sqlite_store")


@pytest.fixture
def librarian() -> Librarian:
    found = registry.find("kernels.librarian")
    assert isinstance(found, Librarian)
    return found


def runbook(name: str, text: str) -> Path:
    folder = settings().state_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text)
    return path


def sources(librarian: Librarian, query: str, kind: str = "") -> list[str]:
    with transaction() as session:
        return [hit.source for hit in librarian.search(session, query, kind=kind)]


@pytest.mark.usefixtures("store")
def test_it_keeps_the_contract(librarian: Librarian) -> None:
    with transaction() as session:
        check_contract(librarian, session)


@pytest.mark.usefixtures("store")
def test_a_runbook_is_found_then_changed_then_gone(librarian: Librarian) -> None:
    path = runbook("valve.md", "# Stuck valve\nTurn the zyxomatic lever.")
    with transaction() as session:
        librarian.run(session, utcnow())
    assert sources(librarian, "zyxomatic") == ["runbook:valve.md"]
    path.write_text("# Stuck valve\nTurn the quorbitic lever.")
    with transaction() as session:
        assert librarian.run(session, utcnow()).work == 1
    assert sources(librarian, "zyxomatic") == []
    assert sources(librarian, "quorbitic") == ["runbook:valve.md"]
    path.unlink()
    with transaction() as session:
        librarian.run(session, utcnow())
    assert sources(librarian, "quorbitic") == []


@pytest.mark.usefixtures("store")
def test_nine_of_ten_questions_find_what_answers_them_among_the_first_five(
    librarian: Librarian,
) -> None:
    for name, text in RUNBOOKS.items():
        runbook(name, text)
    with transaction() as session:
        librarian.run(session, utcnow())
        missed = [
            question
            for question, answer in LABELLED.items()
            if not any(
                hit.source == answer or hit.source.startswith((f"{answer}#", f"{answer}."))
                for hit in librarian.search(
                    session, question, kind=answer.partition(":")[0], most=5
                )
            )
        ]
    assert len(missed) <= len(LABELLED) / 10, missed


def test_a_page_is_found_by_its_section() -> None:
    text = "# Valves\nWhat they do.\n\n## Opening one\nTurn left.\n\n## Opening one\nOr pull.\n"
    found = sections(text, "runbook", "runbook:valve.md")
    assert [(one.source, one.title) for one in found] == [
        ("runbook:valve.md", "Valves"),
        ("runbook:valve.md#opening-one", "Valves: Opening one"),
        ("runbook:valve.md#opening-one-", "Valves: Opening one"),
    ]
    assert "Turn left" in found[1].body
    assert "Turn left" not in found[0].body


def test_a_cycle_that_finds_nothing_new_does_no_work(librarian: Librarian) -> None:
    with transaction() as session:
        assert librarian.run(session, utcnow()).work > 100
    with transaction() as session:
        assert librarian.run(session, utcnow()).work == 0


@pytest.mark.usefixtures("store")
def test_the_code_is_found_by_what_its_docstring_says(librarian: Librarian) -> None:
    with transaction() as session:
        librarian.run(session, utcnow())
    words = "ProbeFailedError evidence rolls back record_failure tick already"
    found = sources(librarian, words, kind="docstring")
    assert "docstring:homeostat.supervision.check.run_check" in found[:3]


def test_an_incident_is_found_by_its_message(librarian: Librarian) -> None:
    with transaction() as session:
        failure = Failure.without_frames(
            "FooError", "The gribblewonk jammed.", "worker", "workers.main"
        )
        incident = report(session, failure).id
        librarian.run(session, utcnow())
    assert sources(librarian, "gribblewonk") == [f"incident:{incident}"]


@pytest.mark.parametrize(
    "query",
    ['"', "a' OR 1=1 --", "NEAR(", "*", "a:b", "& | !", "title:x", "", "\x00", "AND OR NOT"],
)
@pytest.mark.usefixtures("store")
def test_no_query_breaks_the_search_language(librarian: Librarian, query: str) -> None:
    with transaction() as session:
        librarian.index(session, [Text("probe", "x", "A title", "a b x near or not and")])
        assert isinstance(librarian.search(session, query), list)


def test_a_module_that_does_not_parse_has_no_docstrings(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("def broken(:\n")
    assert docstrings(path, "broken") == []


def test_nested_names_are_read_with_their_full_name(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text('"""M."""\nclass A:\n    """A."""\n    def f(self):\n        """F."""\n')
    assert {text.title for text in docstrings(path, "pkg.m")} == {"pkg.m", "pkg.m.A", "pkg.m.A.f"}
