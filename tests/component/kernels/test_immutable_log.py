from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import select, text

from homeostat import registry
from homeostat.cli import run as command
from homeostat.kernels.immutable_log import ImmutableLog, LogBrokenError
from homeostat.settings import settings
from homeostat.store import audit, checkpoints, database
from homeostat.store.audit import GENESIS, AuditRow
from homeostat.store.chain import ChainReport, RawRow, raw_hash, raw_rows, verify_chain
from homeostat.testing import check_contract

FEW, ROWS = 1_000, 10_000
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


TEXTS = RawRow._fields[1:]


@pytest.fixture(params=[FEW, pytest.param(ROWS, marks=pytest.mark.slow)])
def rows(request: pytest.FixtureRequest) -> int:
    """How many rows the log has."""
    return int(request.param)


def test_tampering_in_the_table_is_found_at_its_row(
    log: ImmutableLog, sqlite_store: str, rows: int
) -> None:
    del sqlite_store
    fill(rows)
    assert verified(log).rows == rows
    dice = random.Random(20261121)  # noqa: S311  # a seeded test, no secret
    with database.reading() as session:
        originals = {row.sequence: row for row in raw_rows(session, 0)}
    for attempt in range(60):
        column, row = TEXTS[attempt % len(TEXTS)], dice.randint(1, rows)
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
    return cut(value, at) if dice.random() < 0.2 else changed(value, at, dice.randint(1, 90))


def changed(value: str, at: int, by: int) -> str:
    """Return the value with another character there; `by` is from 1 to 126."""
    return value[:at] + chr((ord(value[at]) + by) % 127 or 127) + value[at + 1 :]


def cut(value: str, at: int) -> str:
    return value[:at] + value[at + 1 :]


# Verifying is a fold: after an intact row n it knows n and that row's hash, and nothing else. So
# what happens from a row on is verified from there, as `verify(after=…)` does, and all the cases
# of a log of 10,000 rows take a minute.


@pytest.fixture
def chain(sqlite_store: str, rows: int) -> list[RawRow]:
    """The rows of an intact log, as the table gives them."""
    del sqlite_store
    fill(rows)
    with database.reading() as session:
        found = list(raw_rows(session, 0))
    report = verify_chain(found, after=(0, GENESIS))
    assert (report.intact, report.rows) == (True, rows)
    return found


def found_at(chain: list[RawRow], first: int, *instead: RawRow) -> int | None:
    """Return the row at which the chain breaks where these rows stand from the first on."""
    before = chain[first - 2].row_hash if first > 1 else GENESIS
    return verify_chain(instead, after=(first - 1, before)).row


@pytest.mark.slow
@pytest.mark.parametrize("rows", [ROWS])
def test_every_byte_that_is_changed_or_lost_is_found_at_its_row(chain: list[RawRow]) -> None:
    edits = 0
    for row in chain:
        for column in TEXTS:
            value = getattr(row, column)
            for at in range(len(value)):
                by = 1 + (row.sequence * 31 + at * 7) % 126
                for other in (changed(value, at, by), cut(value, at)):
                    forged = row._replace(**{column: other})  # type: ignore[arg-type]  # texts only
                    if forged != row:
                        edits += 1
                        assert found_at(chain, row.sequence, forged) == row.sequence, forged
    assert edits > 3_000_000


def test_a_row_that_is_forged_with_its_hash_is_found_at_the_row_after_it(
    chain: list[RawRow],
) -> None:
    for row, after in pairwise(chain):
        forged = row._replace(payload='{"n":-1}')
        forged = forged._replace(row_hash=raw_hash(forged))
        assert found_at(chain, row.sequence, forged, after) == after.sequence


def test_every_row_that_is_lost_is_found_where_it_stood(chain: list[RawRow]) -> None:
    for lost, after in pairwise(chain):
        assert found_at(chain, lost.sequence, after) == lost.sequence


def test_all_neighbours_that_are_swapped_are_found_at_the_first(chain: list[RawRow]) -> None:
    for one, other in pairwise(chain):
        assert found_at(chain, one.sequence, *swapped(one, other)) == one.sequence


def test_rows_that_are_swapped_from_afar_are_found_at_the_first(chain: list[RawRow]) -> None:
    dice = random.Random(4)  # noqa: S311  # a seeded test, no secret
    for _ in chain:
        one, other = sorted(dice.sample(chain, 2))
        assert found_at(chain, one.sequence, *swapped(one, other)) == one.sequence


def swapped(one: RawRow, other: RawRow) -> tuple[RawRow, RawRow]:
    return other._replace(sequence=one.sequence), one._replace(sequence=other.sequence)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [ROWS])
def test_every_cut_is_found_at_the_first_row_that_is_gone(
    log: ImmutableLog, chain: list[RawRow]
) -> None:
    with database.transaction() as session:
        for row in reversed(chain):
            gone = text("DELETE FROM audit_log WHERE sequence = :row")
            session.execute(gone, {"row": row.sequence})
            report = log.verify(session, after=max(0, row.sequence - 2))
            assert (report.intact, report.row) == (False, row.sequence), report


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
