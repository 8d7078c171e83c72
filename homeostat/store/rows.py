"""Rows that are written past the unit of work: the INSERT of each database, and reading anew."""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session
from sqlalchemy.orm.util import identity_key

from homeostat.store.base import Base


def insert_into(session: Session, model: type[Base]) -> Any:
    """Return the dialect's INSERT, the one that knows ON CONFLICT."""
    postgresql = session.get_bind().dialect.name == "postgresql"
    return postgresql_insert(model) if postgresql else sqlite_insert(model)


def read_anew(session: Session, model: type[Base], key: Any) -> None:
    """Have a mapped object of this row, if there is one, read when it is next looked at.

    What it has yet to write of its own has to be flushed before.
    """
    mapped = session.identity_map.get(identity_key(model, key))
    if mapped is not None:
        session.expire(mapped)
