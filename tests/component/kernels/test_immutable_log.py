from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text

from homeostat import registry
from homeostat.cli import run as command
from homeostat.kernels.immutable_log import ImmutableLog, LogBrokenError
from homeostat.settings import settings
from homeostat.store import audit, checkpoints, database
from homeostat.store.audit import AuditRow
from homeostat.store.chain import ChainReport, raw_hash, raw_rows
from homeostat.testing import check_contract

ROWS = 10_000
APPENDER = """
import sys
from homeostat.store import audit, database
for number in range(50):
    with database.transaction() as session:
        audit.append(session, actor=sys.argv[1], action="a", resource="r", payload={"n": number})
"""


@pytest.fixture
def log() -> ImmutableLog:
    found = registry.find("kernels.immutable_log")
    assert isinstance(found, ImmutableLog)
    return found


def fill(rows: int) -> None:
    with database.transaction() as session:
        for number in range(rows):
            audit.append(
                session, actor="a", action="act", resource=f"r{number % 7}", payload={"n": number}
            )
            if number % 1000 == 0:
                session.expunge_all()


def verified(log: ImmutableLog) -> ChainReport:
    with database.reading() as session:
        return log.verify(session)


def tampered(statement: str, **values: Any) -> None:
    with database.transaction() as session:
        session.execute(text(statement), values)


def test_eight_processes_append_at_once_and_make_one_chain(log: ImmutableLog, store: str) -> None:
    del store
    processes = [subprocess.Popen([sys.executable, "-c", APPENDER, f"p{n}"]) for n in range(8)]
    assert [process.wait(120) for process in processes] == [0] * 8
    report = verified(log)
    assert (report.intact, report.rows, report.last_sequence) == (True, 400, 400)
    with database.reading() as session:
        for number in range(8):
            assert len(log.search(session, actor=f"p{number}")) == 50


def test_every_kind_of_tampering_is_found_at_its_row(log: ImmutableLog, sqlite_store: str) -> None:
    del sqlite_store
    fill(ROWS)
    assert verified(log).rows == ROWS
    dice = random.Random(20261121)  # noqa: S311  # a seeded test, no secret
    columns = [
        "at", "actor", "action", "resource", "decision", "subsystem", "payload", "result",
        "previous_hash", "row_hash",
    ]  # fmt: skip
    with database.reading() as session:
        originals = {row.sequence: row for row in raw_rows(session, 0)}
    for attempt in range(60):
        column, row = columns[attempt % len(columns)], dice.randint(1, ROWS)
        before = getattr(originals[row], column)
        if column == "at":  # as SQLite holds it, not as it was hashed
            before = before.replace("T", " ").removesuffix("+00:00")
        after = one_byte_off(before, dice)
        statement = f"UPDATE audit_log SET {column} = :value WHERE sequence = :row"  # noqa: S608  # listed
        tampered(statement, value=after, row=row)
        report = verified(log)
        assert not report.intact, f"{column} of row {row}: {before!r} became {after!r} unseen"
        assert report.row == row, f"{column} of row {row} was reported as {report}"
        tampered(statement, value=before, row=row)
    assert verified(log).intact
    assert raw_hash(originals[77]) == originals[77].row_hash


def one_byte_off(value: str, dice: random.Random) -> str:
    """A single byte changed, added (to an empty value) or removed."""
    if not value:
        return "x"
    at = dice.randrange(len(value))
    if dice.random() < 0.2:
        return value[:at] + value[at + 1 :]
    return value[:at] + chr((ord(value[at]) + dice.randint(1, 90)) % 127 or 1) + value[at + 1 :]


HEAD_AT_90 = (
    "UPDATE audit_head SET sequence = 90, "
    "row_hash = (SELECT row_hash FROM audit_log WHERE sequence = 90)"
)
DAMAGE: dict[str, tuple[list[str], int]] = {
    "deleted": (["DELETE FROM audit_log WHERE sequence = 40"], 40),
    "swapped": (
        [
            "UPDATE audit_log SET sequence = -1 WHERE sequence = 40",
            "UPDATE audit_log SET sequence = 40 WHERE sequence = 41",
            "UPDATE audit_log SET sequence = 41 WHERE sequence = -1",
        ],
        40,
    ),
    "cut": (["DELETE FROM audit_log WHERE sequence > 90"], 91),
    "cut with its head": (
        [
            "DELETE FROM audit_log WHERE sequence > 90",
            HEAD_AT_90,
        ],
        100,
    ),
    "cut with its head and checkpoints": (
        [
            "DELETE FROM audit_checkpoints",
            "DELETE FROM audit_log WHERE sequence > 90",
            HEAD_AT_90,
        ],
        100,
    ),
    "signature forged": (["UPDATE audit_checkpoints SET signature = row_hash"], 100),
    "bytes that are no text": (
        ["UPDATE audit_log SET payload = CAST(X'ff' AS TEXT) WHERE sequence = 40"],
        40,
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_named(log: ImmutableLog, sqlite_store: str, damage: str) -> None:
    del sqlite_store
    fill(100)
    with database.transaction() as session:
        made = log.checkpoint(session)
        assert made is not None
        assert made.sequence == 100
    assert verified(log).intact
    statements, row = DAMAGE[damage]
    for statement in statements:
        tampered(statement)
    report = verified(log)
    assert (report.intact, report.row) == (False, row), report


def test_a_chain_forged_from_a_row_on_is_caught_by_the_signature(
    log: ImmutableLog, sqlite_store: str
) -> None:
    del sqlite_store
    fill(100)
    with database.transaction() as session:
        log.checkpoint(session)
    with database.transaction() as session:
        previous = None
        for row in session.scalars(select(AuditRow).order_by(AuditRow.sequence)):
            if row.sequence == 60:
                row.payload = '{"n":666}'
            if previous is not None:
                row.previous_hash = previous
            previous = row.row_hash = audit.hash_of(row)
        session.execute(text("UPDATE audit_head SET row_hash = :h"), {"h": previous})
    report = verified(log)
    assert (report.intact, report.row) == (False, 100)
    assert "signed" in report.reason


def test_what_is_broken_is_never_signed(log: ImmutableLog, sqlite_store: str) -> None:
    del sqlite_store
    fill(10)
    tampered("UPDATE audit_log SET actor = 'b' WHERE sequence = 5")
    with pytest.raises(LogBrokenError, match="Row 5"), database.transaction() as session:
        log.checkpoint(session)
    with database.reading() as session:
        assert checkpoints.newest(session) is None


def test_a_rolled_back_append_is_never_signed(log: ImmutableLog, sqlite_store: str) -> None:
    del sqlite_store
    fill(3)

    class Undone(Exception): ...  # noqa: N818  # it is no error

    def work(then: Callable[[], None]) -> None:
        with database.transaction() as session:
            audit.append(session, actor="a", action="b", resource="c")
            log.checkpoint(session)
            then()

    def undo() -> None:
        raise Undone

    with pytest.raises(Undone):
        work(undo)
    assert verified(log).intact
    assert (settings().state_dir / "audit.checkpoint").stat().st_mode & 0o777 == 0o600


def test_it_keeps_the_contract(log: ImmutableLog, store: str) -> None:
    del store
    with database.transaction() as session:
        check_contract(log, session)


def test_the_command_verifies_and_names_the_broken_row(
    log: ImmutableLog, sqlite_store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    del sqlite_store
    with database.transaction() as session:
        for number in range(5):
            log.append(session, actor="a", action="b", resource=str(number))
    assert command(["log", "verify", "-o", "json"]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert (seen["intact"], seen["rows"], seen["row"]) == (True, 5, None)
    with database.transaction() as session:
        session.execute(text("UPDATE audit_log SET actor = 'z' WHERE sequence = 3"))
    assert command(["log", "verify", "-o", "json"]) == 1
    seen = json.loads(capsys.readouterr().out)
    assert (seen["intact"], seen["row"]) == (False, 3)
    assert "hash does not match" in seen["reason"]
