"""Grouping of messages, on logs with known templates."""

from __future__ import annotations

import csv
import json
import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import grouping
from benchmarks.loghub import read_loghub
from homeostat.incidents.grouping import Miner, joined_group

ROOT = Path(__file__).parents[3]


def test_it_groups_at_least_as_well_as_drain3_with_masks() -> None:
    systems = grouping.generate(600, seed=11)
    found = grouping.measure(systems)
    assert found["mean"] >= found["compared"]["drain3_masked"]["mean"]
    assert found["mean"] >= found["compared"]["drain3"]["mean"]
    assert found["mean"] >= 0.95


def test_the_accuracy_can_come_out_low() -> None:
    truth = ["a", "a", "b", "b"]
    assert grouping.accuracy([1, 1, 2, 2], truth) == 1.0
    assert grouping.accuracy([1, 1, 1, 1], truth) == 0.0
    assert grouping.accuracy([1, 2, 3, 3], truth) == 0.5


def test_the_benchmark_reads_loghubs_layout(tmp_path: Path) -> None:
    folder = tmp_path / "HDFS"
    folder.mkdir()
    with (folder / "HDFS_2k.log_structured.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["LineId", "Content", "EventId", "EventTemplate"])
        for number in range(50):
            writer.writerow([number, f"Verification succeeded for blk_{number}", "E1", "…"])
            writer.writerow([number, f'Deleting "block", {number} file /x/{number}', "E2", "…"])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.grouping", "--logs", str(tmp_path), "--json"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=60,
    )
    found = json.loads(done.stdout)
    assert found["systems"] == {"HDFS": 1.0}
    assert found["messages_per_s"] > 0
    assert {"drain3", "drain3_masked", "masks"} <= found["compared"].keys()


def labels(file: Path, *rows: tuple[str, ...], encoding: str = "utf-8") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding=encoding) as opened:
        csv.writer(opened).writerows(rows)


def test_a_byte_order_mark_line_ends_and_depth_do_not_matter(tmp_path: Path) -> None:
    file = tmp_path / "data" / "loghub_2k" / "Mac" / "Mac_2k.log_structured.csv"
    rows = [("Content", "EventId"), ('said "a, b"\nand more', "E1"), ("naïve", "E2")]
    labels(file, *rows, encoding="utf-8-sig")
    assert read_loghub(tmp_path) == {"Mac": rows[1:]}
    assert read_loghub(file.parent) == {"Mac": rows[1:]}


def test_the_corrected_labels_count_where_they_are_wanted_or_the_only_ones(tmp_path: Path) -> None:
    header = ("Content", "EventId", "EventTemplate")
    labels(tmp_path / "a" / "HPC_2k.log_structured.csv", header, ("x 1", "E1", "x <*>"))
    labels(tmp_path / "b" / "HPC_2k.log_structured_corrected.csv", header, ("x 1", "E1", "x 1"))
    labels(tmp_path / "b" / "BGL_2k.log_structured_corrected.csv", header, ("y", "E1", "y"))
    labels(tmp_path / "b" / "BGL_2k.log_templates.csv", header[1:], ("E1", "y"))
    assert read_loghub(tmp_path) == {"BGL": [("y", "y")], "HPC": [("x 1", "E1")]}
    corrected = read_loghub(tmp_path, corrected=True)
    assert corrected == {"BGL": [("y", "y")], "HPC": [("x 1", "x 1")]}


def test_a_folder_without_labelled_logs_is_refused_in_one_sentence(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(SystemExit, match="give the folder of LogHub-2k"):
            read_loghub(folder)
    file = tmp_path / "HPC_2k.log_structured.csv"
    labels(file, ("LineId", "EventId"), ("1", "E1"))
    with pytest.raises(SystemExit, match="no columns Content and EventId"):
        read_loghub(tmp_path)
    labels(file, ("Content", "EventId"))
    with pytest.raises(SystemExit, match="holds no message"):
        read_loghub(tmp_path)


def groups_of(*messages: str) -> list[int]:
    miner = Miner()
    return [miner.group(number) for number in [miner.add(message) for message in messages]]


def test_a_group_has_the_words_that_its_messages_share() -> None:
    miner = Miner()
    groups = [miner.add(f"wrote the file of {name} at 7") for name in ("x.ann", "x.bob", "x.eve")]
    assert len(set(groups)) == 1
    assert miner.template(groups[0]) == "wrote the file of <*> at <NUM>"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("VM Started (Lifecycle Event) of 7", "VM Stopped (Lifecycle Event) of 7"),
        ("boot (command 12)", "halt (command 13)"),
        ("flush forced=true", "flush forced=false"),
        ("totalSteps=7", "totalHeight=7"),
        ("Link Up on eth0", "Link Up on awdl0"),
        ("radio[enable] by 7", "radio[disable] by 7"),
        ("action com.shop.action.SCREEN_ON", "action com.shop.action.SCREEN_OFF"),
        ("open through 10.0.0.1 SOCKS5", "open through 10.0.0.2 HTTPS"),
        ("running", "starting"),
    ],
)
def test_messages_that_say_another_thing_stay_apart(one: str, other: str) -> None:
    assert len(set(groups_of(one, other))) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("session opened for user ann by 7", "session opened for user root by 8"),
        ("refused a login for ann from 10.0.0.1", "refused a login for root from 10.0.0.2"),
        ("waiting:7 running:12", "waiting:10 running:3"),
        ("com.shop.sync: told to run this", "com.shop.clean.daily: told to run this"),
        ("name=ann, uid=7", "name=x.bob, uid=8"),
    ],
)
def test_messages_that_differ_in_their_values_are_one_group(one: str, other: str) -> None:
    assert len(set(groups_of(one, other))) == 1


_CAPITALS = st.text(string.ascii_uppercase, min_size=3, max_size=8).filter(
    lambda word: word not in {"TRUE", "FALSE"}
)
_DIGITS = st.integers(0, 9999).map(str)
#: Values that look like words in part, by what makes them values.
NAMES: dict[str, st.SearchStrategy[str]] = {
    "a hyphen": st.builds("{}-{}{}".format, _CAPITALS, _CAPITALS, _DIGITS)
    | st.builds("{}-{}{}{}".format, _CAPITALS, _DIGITS, _CAPITALS, _DIGITS),
    "hyphens": st.builds("Tools-{}-Core~{}".format, _CAPITALS, _DIGITS),
    "more of a dotted name": st.builds("_{}_.BUS0.{}._PRT".format, _CAPITALS, _CAPITALS),
}


@pytest.mark.parametrize("kind", NAMES)
@given(data=st.data())
def test_capitals_within_a_name_are_no_words(kind: str, data: st.DataObject) -> None:
    one, other = data.draw(NAMES[kind]), data.draw(NAMES[kind])
    assert len(set(groups_of(f"lost [{one}] for good", f"lost [{other}] for good"))) == 1


@given(st.integers(-999, 999), st.integers(-999, 999))
def test_the_sign_of_a_count_is_no_word(one: int, other: int) -> None:
    assert len(set(groups_of(f"cancelled,index:{one}", f"cancelled,index:{other}"))) == 1


@given(st.text(string.ascii_letters + string.digits, max_size=8))
def test_an_empty_name_is_a_name(name: str) -> None:
    frames = ("Invalid user {} from 10.0.0.7", "request: invalid user {} [preauth]")
    for frame in frames:
        assert len(set(groups_of(frame.format("root"), frame.format(name)))) == 1


def test_a_place_in_which_many_words_stood_takes_values() -> None:
    words = ("amber", "blue", "coral", "denim", "ebony", "fawn", "green", "hazel", "ivory")
    messages = [f"the {word} lamp went out again" for word in words]
    assert len(set(groups_of(*messages))) == 1
    assert len(set(groups_of(*messages[:3]))) == 3
    assert len(set(groups_of(*words))) == len(words)


def test_a_template_joins_the_first_group_that_is_alike() -> None:
    others = ["the disk is full", "lost the worker alpha while it stood at the dock"]
    assert joined_group("lost the worker beta while it stood at the dock", others) == 1
    assert joined_group("the shelf is full", others) is None
    assert joined_group("nothing of the kind happened here", others) is None
