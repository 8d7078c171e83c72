"""`homeostat incident` and `homeostat signature`, as a person and a script use them."""

from __future__ import annotations

import json
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from homeostat.cli import run
from homeostat.incidents.lifecycle import State
from tests.component.incidents.scenes import events, fail, notices, now_of, timeline

TRACEBACK = """Traceback (most recent call last):
  File "/srv/app/shop/orders.py", line 12, in ship
    raise ValueError(f"order {number} is not open")
ValueError: order 17 is not open
"""


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command; return its exit code, its JSON (or text) and what it said of errors."""

    def call(*arguments: str) -> tuple[int, Any, str]:
        capsys.readouterr()
        code = run(arguments)
        out, err = capsys.readouterr()
        return code, json.loads(out) if out.startswith("{") else out, err

    return call


def test_an_empty_store_lists_nothing(said: Any) -> None:
    assert said("incident", "list", "-o", "json") == (0, {"incidents": []}, "")


@pytest.mark.usefixtures("sqlite_store")
def test_it_lists_open_incidents_and_all_on_request(said: Any) -> None:
    first, second = fail(kind="First"), fail("other", kind="Second")
    assert said("incident", "resolve", first.id)[0] == 0
    _, shown, _ = said("incident", "list", "-o", "json")
    assert [row["id"] for row in shown["incidents"]] == [second.id]
    _, shown, _ = said("incident", "list", "--all", "-o", "json")
    assert {row["id"] for row in shown["incidents"]} == {first.id, second.id}
    _, shown, _ = said("incident", "list", "--state", "resolved", "-o", "json")
    assert [row["id"] for row in shown["incidents"]] == [first.id]
    _, shown, _ = said("incident", "list", "--component", "other", "-o", "json")
    assert [row["label"] for row in shown["incidents"]] == [second.label]
    code, text, _ = said("incident", "list")
    assert code == 0
    assert "Open incidents" in text


@pytest.mark.usefixtures("sqlite_store")
def test_it_shows_an_incident_with_bundle_and_timeline(said: Any) -> None:
    incident = fail()
    code, shown, _ = said("incident", "show", incident.label, "-o", "json")
    assert code == 0
    assert shown["id"] == incident.id
    assert shown["bundle"]["schema"] == 1
    assert shown["timeline"][0]["event"] == "opened"
    assert shown["over_time"][0]["count"] == 1
    code, text, _ = said("incident", "show", incident.id)
    assert code == 0
    assert incident.reason in text
    _, shown, _ = said("incident", "timeline", incident.id, "-o", "json")
    assert [step["actor"] for step in shown["timeline"]] == ["recognition"]
    assert said("incident", "timeline", incident.id)[0] == 0


@pytest.mark.usefixtures("sqlite_store")
def test_a_person_takes_it_through_its_life(said: Any) -> None:
    incident = fail()
    assert said("incident", "ack", incident.id, "--actor", "ann", "--note", "on it")[0] == 0
    code, shown, _ = said(
        "incident", "silence", incident.id, "--for", "30m", "--actor", "ann", "-o", "json"
    )
    assert (code, shown["acknowledged_by"]) == (0, "ann")
    assert said("incident", "resolve", incident.id, "--actor", "ann", "--reason", "x")[0] == 0
    assert now_of(incident).state == State.RESOLVED
    assert said("incident", "reopen", incident.id, "--actor", "bob")[0] == 0
    assert events(incident) == ["opened", "acknowledged", "silenced", "resolved", "reopened"]
    assert [step.actor for step in timeline(incident)[1:]] == ["ann", "ann", "ann", "bob"]
    # The silence holds back the second opening, and with it its end.
    assert said("incident", "resolve", incident.id)[0] == 0
    assert notices(incident) == ["opened", "resolved"]


@pytest.mark.usefixtures("sqlite_store")
def test_a_failure_seen_elsewhere_is_reported(said: Any, tmp_path: Path) -> None:
    path = tmp_path / "traceback.txt"
    path.write_text(TRACEBACK)
    for count in (1, 2):
        code, shown, _ = said(
            "incident", "report", str(path), "--component", "shop", "--severity", "low",
            "-o", "json",
        )  # fmt: skip
        assert (code, shown["occurrences"], shown["severity"]) == (0, count, "low")
    assert shown["label"].startswith("shop_ValueError_")


@pytest.mark.usefixtures("sqlite_store")
def test_a_maintenance_window_is_opened(said: Any) -> None:
    code, shown, _ = said("incident", "maintenance", "shop", "--for", "1h", "-o", "json")
    assert (code, shown["target"]) == (0, "shop")
    assert not fail().announced


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("show", "nothing"), 64, "No incident has the id 'nothing'"),
        (("timeline", "nothing"), 64, "No incident has the id"),
        (("ack", "nothing"), 64, "No incident has the id"),
        (("silence", "nothing", "--for", "1h"), 64, "No incident has the id"),
        (("silence", "nothing", "--for", "soon"), 64, "A duration is a number and a unit"),
        (("maintenance", "shop", "--for", "99d"), 65, "at most 30 days"),
        (("maintenance", " ", "--for", "1h"), 65, "name it"),
        (("list", "--state", "broken"), 64, "No incident can be 'broken'"),
        (("resolve", "nothing"), 64, "No incident has the id"),
        (("reopen", "nothing"), 64, "No incident has the id"),
    ],
)
def test_a_mistake_is_one_sentence_and_a_code(
    said: Any, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    found, _, err = said("incident", *arguments)
    assert found == code
    assert sentence in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("sqlite_store")
def test_a_part_of_an_id_must_tell_which(said: Any) -> None:
    first, second = fail(kind="First"), fail("other", kind="Second")
    pairs = zip(first.id, second.id, strict=True)
    shared = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    code, _, err = said("incident", "show", shared)
    assert (code, "Several ids begin with" in err) == (64, True)
    code, shown, _ = said("incident", "show", first.id[: len(shared) + 1], "-o", "json")
    assert (code, shown["id"]) == (0, first.id)


@pytest.mark.usefixtures("sqlite_store")
def test_a_step_out_of_place_is_refused(said: Any) -> None:
    incident = fail()
    assert said("incident", "reopen", incident.id)[0] == 65
    assert said("incident", "resolve", incident.id)[0] == 0
    code, _, err = said("incident", "resolve", incident.id)
    assert code == 65
    assert "resolved already" in err


def test_a_signature_is_explained(said: Any, tmp_path: Path) -> None:
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    one.write_text(TRACEBACK)
    moved = TRACEBACK.replace("/srv/app", "/home/ann/x").replace("17", "23")
    other.write_text(moved.replace("12,", "9,"))
    code, shown, _ = said("signature", "explain", str(one), "-o", "json")
    assert code == 0
    assert shown["frames"] == ["orders:ship"]
    assert shown["template"] == "order <NUM> is not open"
    assert "application frames" in shown["reason"]
    assert not shown["replayable"]
    _, same, _ = said("signature", "explain", str(other), "-o", "json")
    assert (same["group_key"], same["replay_key"]) == (shown["group_key"], shown["replay_key"])
    code, text, _ = said("signature", "explain", str(one))
    assert code == 0
    assert shown["replay_key"] in text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_is_read_in_the_encoding_of_its_mark(
    said: Any, tmp_path: Path, encoding: str
) -> None:
    file = tmp_path / "trace.txt"
    file.write_bytes(TRACEBACK.encode(encoding))
    code, shown, _ = said("signature", "explain", str(file), "-o", "json")
    assert (code, shown["frames"]) == (0, ["orders:ship"])


@pytest.mark.usefixtures("sqlite_store")
def test_a_shown_incident_explains_itself(said: Any, tmp_path: Path) -> None:
    incident = fail()
    _, shown, _ = said("incident", "show", incident.id, "-o", "json")
    event = tmp_path / "event.json"
    event.write_text(json.dumps(shown))
    _, explained, _ = said("signature", "explain", str(event), "-o", "json")
    assert explained["group_key"] == incident.group_key
    assert explained["replay_key"] == incident.replay_key


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, 66), (b"", 65), (b"all is well", 65), (b"{}", 65), (b"{", 65), (b"\xff\xfe", 65)],
)
def test_a_file_without_a_failure_is_refused(
    said: Any, tmp_path: Path, content: bytes | None, code: int
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    found, _, err = said("signature", "explain", str(path))
    assert found == code
    assert err.startswith("homeostat: ")
    assert "Traceback (most" not in err
