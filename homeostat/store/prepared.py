"""Statements that a cycle sends every time: on SQLite they go to the driver as text.

SQLAlchemy works out cache key, parameters and result anew with every execution: 4 to 17 times what
SQLite takes for the statement itself, and a cycle of the trade flow sends a dozen. On a server the
way there takes longer than that, so there SQLAlchemy sends them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.orm import Session

Convert = Callable[[Any], Any]
Row = Sequence[Any]


class Prepared:
    """One statement; values pass through the types of its columns as they do in SQLAlchemy.

    What SQLite refuses is sent once more by SQLAlchemy, whose errors are what everybody knows. An
    INSERT names the columns that it is given. The statement has to have one form: no IN over a
    list, whose length would be part of the text.
    """

    def __init__(self, statement: Any, *columns: str) -> None:
        self._statement, self._columns = statement, columns
        self._form: _Form | None = None

    def rows(self, session: Session, **given: Any) -> Sequence[Row]:
        """Return the rows that the statement gives for these parameters."""
        connection = session.connection()
        if (driver := _sqlite(connection)) is not None:
            form = self._as_text(connection.dialect)
            with suppress(sqlite3.Error):
                return form.read(driver.execute(form.text, form.bound(given)).fetchall())
        return connection.execute(self._statement, given).all()

    def change(self, session: Session, **given: Any) -> int:
        """Send the statement once; returns how many rows it touched."""
        connection = session.connection()
        if (driver := _sqlite(connection)) is not None:
            form = self._as_text(connection.dialect)
            with suppress(sqlite3.Error):
                return driver.execute(form.text, form.bound(given)).rowcount
        return connection.execute(self._statement, given).rowcount

    def send(self, session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
        """Send the statement for each of these sets of parameters; for none, nothing."""
        if not rows:
            return
        connection = session.connection()
        if (driver := _sqlite(connection)) is not None:
            form = self._as_text(connection.dialect)
            with suppress(sqlite3.Error):
                driver.executemany(form.text, [form.bound(row) for row in rows])
                return
        connection.execute(self._statement, rows)

    def _as_text(self, dialect: Dialect) -> _Form:
        if self._form is None:
            self._form = _Form(self._statement, self._columns, dialect)
        return self._form


def _sqlite(connection: Connection) -> sqlite3.Connection | None:
    """Return SQLite's own connection below; None where the database is another."""
    driver: object = connection.connection.dbapi_connection
    return driver if isinstance(driver, sqlite3.Connection) else None


class _Form:
    """The statement as the driver takes it."""

    def __init__(self, statement: Any, columns: Sequence[str], dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=columns or None)
        self.text = str(compiled)
        names = compiled.positiontup
        self._usual = {name: compiled.params[name] for name in names}
        self._binds: list[tuple[str, Convert | None]] = [
            (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect))
            for name in names
        ]
        self._read: list[tuple[int, Convert]] = []
        for place, column in enumerate(getattr(statement, "exported_columns", ())):
            convert = column.type.dialect_impl(dialect).result_processor(dialect, None)
            if convert is not None:
                self._read.append((place, convert))

    def bound(self, given: Mapping[str, Any]) -> list[Any]:
        """Return the parameters by place."""
        values = given if len(given) == len(self._usual) else {**self._usual, **given}
        return [values[name] if to is None else to(values[name]) for name, to in self._binds]

    def read(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return the result's rows, each value as its column's type has it."""
        if not self._read:
            return rows
        found = []
        for row in rows:
            values = list(row)
            for place, convert in self._read:
                values[place] = convert(values[place])
            found.append(values)
        return found
