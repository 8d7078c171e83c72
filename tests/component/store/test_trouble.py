"""A full disk and a lock are told in words at the doors; a defect keeps its traceback."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from homeostat.store.trouble import in_words


def failure(path: Path, *statements: str) -> DBAPIError:
    """What SQLAlchemy raises where one of the statements fails."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 0})
    *before, last = statements
    with engine.connect() as connection:
        for statement in before:
            connection.execute(text(statement))
        with pytest.raises(DBAPIError) as raised:
            connection.execute(text(last))
    engine.dispose()
    return raised.value


def test_a_full_database_and_a_locked_one_say_what_to_do(tmp_path: Path) -> None:
    full = failure(
        tmp_path / "full", "PRAGMA max_page_count = 2", "CREATE TABLE a (b)", "CREATE TABLE c (d)"
    )
    assert "make room on its disk" in in_words(full)
    holder = sqlite3.connect(tmp_path / "held", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    locked = failure(tmp_path / "held", "CREATE TABLE a (b)")
    holder.close()
    assert "another process holds it" in in_words(locked)


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    said = in_words(OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "key")))
    assert said == f"{tmp_path / 'key'}: No space left on device; make room there, then try again."


def test_a_defect_is_no_trouble_of_the_store(tmp_path: Path) -> None:
    assert in_words(failure(tmp_path / "a", "SELECT nothing FROM nowhere")) == ""
    assert in_words(ZeroDivisionError()) == ""
    assert in_words(FileNotFoundError(errno.ENOENT, "No such file")) == ""
