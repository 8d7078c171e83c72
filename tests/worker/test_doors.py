"""What the database or the disk does to a command: one sentence with what to do, no traceback."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.running_stack import environment, homeostat

FILE = "homeostat.sqlite3"


@pytest.fixture
def folder(migrated_sqlite: Path, tmp_path: Path) -> Path:
    """A state folder with a sound database, for a test to spoil."""
    made = tmp_path / "spoilt"
    made.mkdir(mode=0o700)
    shutil.copy(migrated_sqlite, made / FILE)
    return made


def refused(folder: Path, *words: str) -> tuple[int, str]:
    done = homeostat(*words, env=environment(folder))
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stderr.startswith("homeostat: ")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.returncode, done.stderr


def test_a_database_of_a_newer_version_is_left_alone(folder: Path) -> None:
    with sqlite3.connect(folder / FILE) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999_future'")
    connection.close()
    for words in (("up",), ("incident", "list")):
        code, said = refused(folder, *words)
        assert (code, "newer Homeostat" in said, "9999_future" in said) == (78, True, True)


def test_a_file_that_is_no_database_or_a_damaged_one_is_named(folder: Path) -> None:
    whole = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(whole[:4096] + b"\xaa" * (len(whole) - 4096))
    code, said = refused(folder, "status")
    assert (code, "restore a copy" in said, FILE in said) == (74, True, True)
    (folder / FILE).write_bytes(b"no database at all, and longer than a header has to be")
    code, said = refused(folder, "status")
    assert (code, "see that it is a database file" in said) == (69, True)


def test_an_argument_that_is_no_text_is_refused(tmp_path: Path) -> None:
    code, said = refused(tmp_path / "var", "incident", "show", "caf\udce9")
    assert (code, "no UTF-8 text" in said) == (64, True)


def test_a_state_that_is_none_and_waves_below_one_are_refused(tmp_path: Path) -> None:
    code, said = refused(tmp_path / "var", "incident", "list", "--state", "gone")
    assert (code, "the states are pending" in said) == (64, True)
    code, said = refused(tmp_path / "var", "stress", "--waves", "-2")
    assert (code, "waves make no sense" in said) == (64, True)
