"""The trading tables are the same in the models and in the migrations."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import homeostat.store.models  # noqa: F401  # so that the metadata is whole
from homeostat.store import trading
from homeostat.store.base import Base
from homeostat.store.database import engine

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
