"""Statements that go to SQLite's driver as text say and return what SQLAlchemy would."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

from homeostat.store.database import reading, transaction
from homeostat.store.prepared import Prepared
from homeostat.store.trading import Directive

TABLE: Any = Directive.__table__
ENTER = Prepared(insert(TABLE), *TABLE.c.keys())
NAMED = Prepared(select(*TABLE.c).where(TABLE.c.version == bindparam("key")).limit(1))
LIFT = (
    update(TABLE)
    .where(TABLE.c.version == bindparam("key"))
    .values(max_leverage=TABLE.c.max_leverage + bindparam("more"))
)
pytestmark = pytest.mark.usefixtures("store")

AT = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)


def directive(version: int, **more: Any) -> dict[str, Any]:
    """The columns of a directive."""
    usual = {
        "version": version,
        "issued_at": AT,
        "expires_at": AT,
        "mode": "NORMAL",
        "health": "HEALTHY",
        "allow_new_trades": True,
        "reduce_global_risk": False,
        "scale_position_sizes": 0.1 + 0.2,
        "min_confidence": 0.65,
        "max_positions": 8,
        "max_leverage": 20.0,
        "max_concentration": 0.3,
        "reasons": {"why": ["ü", None, 1.5]},
    }
    return usual | more


def test_rows_come_back_as_their_columns_types_have_them() -> None:
    told = directive(7)
    with transaction() as session:
        ENTER.change(session, **told)
    with reading() as session:
        [prepared] = NAMED.rows(session, key=7)
        by_sqlalchemy = session.execute(select(*TABLE.c)).one()
        mapped = session.get_one(Directive, 7)
    names = TABLE.c.keys()
    assert dict(zip(names, prepared, strict=True)) == told
    assert list(prepared) == list(by_sqlalchemy)
    assert [type(value) for value in prepared] == [type(value) for value in by_sqlalchemy]
    assert {name: getattr(mapped, name) for name in names} == told


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises((ValueError, StatementError), match="naive"), transaction() as session:
        ENTER.change(session, **directive(1, issued_at=AT.replace(tzinfo=None)))


def test_a_change_says_how_many_rows_it_touched() -> None:
    with transaction() as session:
        ENTER.send(session, [directive(1), directive(2)])
        ENTER.send(session, [])
    with transaction() as session:
        lift = Prepared(LIFT)
        assert lift.change(session, key=2, more=1.0) == 1
        assert lift.change(session, key=3, more=1.0) == 0
        lift.send(session, [{"key": 1, "more": 2.0}, {"key": 2, "more": 2.0}])
        returning = Prepared(LIFT.returning(TABLE.c.max_leverage, TABLE.c.allow_new_trades))
        assert [tuple(row) for row in returning.rows(session, key=1, more=3.0)] == [(25.0, True)]
    with reading() as session:
        assert sorted(session.scalars(select(Directive.max_leverage))) == [23.0, 25.0]


def test_an_error_is_the_one_that_sqlalchemy_raises() -> None:
    with transaction() as session:
        ENTER.change(session, **directive(1))
    with pytest.raises(IntegrityError), transaction() as session:
        ENTER.send(session, [directive(2), directive(1)])
    missing = Prepared(select(TABLE.c.version).where(TABLE.c.version == bindparam("key")))
    with transaction() as session:
        session.connection().exec_driver_sql("DROP TABLE directives")
        with pytest.raises(DBAPIError, match="directives"):
            missing.rows(session, key=1)
        session.rollback()
    with reading() as session:
        assert session.scalars(select(Directive.version)).all() == [1]


def test_it_is_part_of_the_session_s_transaction() -> None:
    with transaction() as session:
        ENTER.change(session, **directive(1))
        assert session.get_one(Directive, 1).mode == "NORMAL"
        with reading() as other:
            assert NAMED.rows(other, key=1) == []
        session.rollback()
    with reading() as session:
        assert NAMED.rows(session, key=1) == []
