"""Mended code reaches the process that runs it: the same process id, the same command, new code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from homeostat.clock import utcnow
from homeostat.supervision import renewal
from homeostat.supervision.renewal import Renewal
from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]
_PROGRAM = """
import os, sys, time
from homeostat.clock import utcnow
from homeostat.supervision import renewal
since = utcnow()
import shop
renewal.LOOK_EVERY_S = 0.05
renewal.Renewal(renewal.git_folders(["shop"]), since, ["shop"]).start()
import signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print(os.getpid(), shop.PRICE, sys.argv[1:], flush=True)
while True:
    time.sleep(1)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text("PRICE = 1\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


@contextmanager
def program(checkout: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, "worker", "--quick"],
        stdout=subprocess.PIPE, text=True, cwd=checkout,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{checkout}", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def says(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split(maxsplit=2)


def test_a_process_starts_again_in_its_own_place_with_the_new_code(checkout: Path) -> None:
    with program(checkout) as process:
        assert says(process) == [str(process.pid), "1", "['worker', '--quick']\n"]
        (checkout / "shop.py").write_text("PRICE = 2\n")
        renewal.mark(checkout / ".git", "a" * 40)
        assert says(process) == [str(process.pid), "2", "['worker', '--quick']\n"]
        (checkout / "shop.py").write_text("PRICE = 3\n")
        renewal.mark(checkout / ".git", "b" * 40)
        assert says(process)[1] == "3", "and again at the next fix"


def test_a_fix_that_landed_while_the_code_was_read_counts(checkout: Path) -> None:
    git = checkout / ".git"
    before = utcnow() - timedelta(seconds=1)
    renewal.mark(git, "a" * 40)
    assert Renewal([git], before).outdated()
    assert not Renewal([git], utcnow()).outdated()


def test_a_process_says_which_fix_it_runs_for_as_long_as_that_is_news(checkout: Path) -> None:
    git = checkout / ".git"
    assert Renewal([git], utcnow()).running() == []
    renewal.mark(git, "a" * 40)
    assert [seen.commit for seen in Renewal([git], utcnow()).running()] == ["a" * 40]


def test_a_mark_that_cannot_be_read_is_none(checkout: Path) -> None:
    (checkout / ".git" / renewal.MARK).write_text("{")
    assert renewal.revision(checkout / ".git") is None


def test_a_worktree_s_own_git_folder_is_found(checkout: Path, tmp_path: Path) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["add", "-A"], ["commit", "-qm", "x"], ["worktree", "add", "-q", "side"]):
        subprocess.run(["git", *identity, *words], cwd=checkout, check=True)
    found = renewal.git_folder_of(tmp_path / "side" / "shop.py")
    assert found == (checkout / ".git" / "worktrees" / "side").resolve()


def test_code_that_does_not_load_is_refused_and_the_process_lives_on(checkout: Path) -> None:
    with program(checkout) as process:
        assert says(process)[1] == "1"
        (checkout / "shop.py").write_text("PRICE = nothing\n")
        renewal.mark(checkout / ".git", "a" * 40)
        why = wait_until(lambda: renewal.refusal(checkout / ".git", "a" * 40), "it is refused")
        assert "NameError: name 'nothing' is not defined" in why
        assert process.poll() is None
        (checkout / "shop.py").write_text("PRICE = 3\n")
        renewal.mark(checkout / ".git", "b" * 40)
        assert says(process)[:2] == [str(process.pid), "3"], "what mends it is taken up"
        assert renewal.refusal(checkout / ".git", "b" * 40) == ""


def test_a_process_that_has_not_taken_a_fix_up_yet_is_known(checkout: Path) -> None:
    with program(checkout) as process:
        says(process)
        landed_at = utcnow()
        assert renewal.lagging(checkout / ".git", landed_at) == [process.pid]
        renewal.mark(checkout / ".git", "a" * 40)
        says(process)
        assert renewal.lagging(checkout / ".git", landed_at) == []
    late = utcnow() + timedelta(minutes=1)
    assert renewal.lagging(checkout / ".git", late) == [], "the dead do not count"
