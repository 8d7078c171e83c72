"""The trading tables are the same in the models and in the migrations."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import homeostat.store.models  # noqa: F401  # so that the metadata is whole
from homeostat.store import trading
from homeostat.store.base import Base
from homeostat.store.database import engine, transaction

TABLES = {
    value.__tablename__
    for value in vars(trading).values()
    if isinstance(value, type) and issubclass(value, Base) and value is not Base
}


@pytest.mark.usefixtures("store")
def test_the_migration_makes_the_tables_of_the_models() -> None:
    with engine().connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        differences = [repr(one) for one in compare_metadata(context, Base.metadata)]
    assert len(TABLES) == 22
    assert [one for one in differences if any(f"'{table}'" in one for table in TABLES)] == []


@pytest.mark.usefixtures("store")
def test_a_book_read_anew_under_its_lock_keeps_what_was_not_written_yet() -> None:
    with transaction() as session, session.no_autoflush:
        book = trading.book_of(session, trading.PAPER)
        book.equity -= 100.0
        assert trading.book_of(session, trading.PAPER, lock=True) is book
    with transaction() as session:
        kept = trading.book_of(session, trading.PAPER).equity
    assert kept == trading.FIRST_EQUITY - 100.0
