"""Edits of source that change nothing but what they are asked to change."""

from __future__ import annotations

from homeostat.repair.codemods.definitions import rename_definition
from homeostat.repair.codemods.functions import (
    NewParameter,
    add_parameter,
    rename_parameter,
    set_default,
)
from homeostat.repair.codemods.imports import Import, add_import, move_import

SOURCE = '''\
"""A module."""
from .records import (
    Record,  # kept
)


class Shop:
    @staticmethod
    def sell(item,   price):  # spaced by hand
        """Sell.
  An odd indentation.
        """
        return Record(item=item, price=price), item.price

    def again(self): return self.sell("a", 1)
'''


def test_a_parameter_is_renamed_in_its_function_and_nowhere_else() -> None:
    edited = rename_parameter(SOURCE, "Shop.sell", "item", "thing")
    assert edited is not None
    assert edited == SOURCE.replace("sell(item,", "sell(thing,").replace(
        "Record(item=item, price=price), item.price", "Record(item=thing, price=price), thing.price"
    )


def test_a_default_and_a_parameter_are_added_in_place() -> None:
    assert set_default(SOURCE, "Shop.sell", "price", "None") == SOURCE.replace(
        "  price)", "  price=None)"
    )
    added = add_parameter(SOURCE, "Shop.again", NewParameter("note", "None"))
    assert added == SOURCE.replace("again(self)", "again(self, note=None)")


def test_a_method_is_renamed_with_its_uses_as_an_attribute() -> None:
    renamed = rename_definition(SOURCE, "Shop.sell", "vend")
    assert renamed == SOURCE.replace("def sell", "def vend").replace("self.sell", "self.vend")


def test_a_name_that_is_not_there_gives_no_edit() -> None:
    assert rename_definition(SOURCE, "Shop.price", "cost") is None
    assert rename_parameter(SOURCE, "Shop.buy", "item", "thing") is None


def test_an_import_joins_its_siblings_and_keeps_their_comments() -> None:
    edited = add_import(SOURCE, Import("records", "Note", "", 1))
    names = edited[edited.index("(") : edited.index(")")]
    assert "Note" in names
    assert "# kept" in edited


def test_an_import_for_type_checkers_stands_after_what_it_needs() -> None:
    moved = move_import('from .records import Record\n\n\ndef sell() -> "Record": ...\n', 1,
                        ("Record",), ())  # fmt: skip
    assert moved is not None
    assert moved.index("from typing import TYPE_CHECKING") < moved.index("if TYPE_CHECKING:")
    exec(compile(moved, "moved.py", "exec"), {})  # noqa: S102 - a broken order would raise here
