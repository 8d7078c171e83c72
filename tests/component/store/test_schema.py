"""The migrations make the tables that the models describe, on both kinds of store."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import homeostat.store.models  # noqa: F401  # so that the metadata is whole
from homeostat.store.base import Base
from homeostat.store.database import engine

#: The stores' own full-text searches, which no model describes.
FULL_TEXT = ("Table('library_index", "TSVECTOR")


@pytest.mark.usefixtures("store")
def test_the_migrations_make_the_tables_of_the_models() -> None:
    with engine().connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        found = [repr(one) for one in compare_metadata(context, Base.metadata)]
    assert len(Base.metadata.tables) > 50
    assert [one for one in found if not any(words in one for words in FULL_TEXT)] == []
