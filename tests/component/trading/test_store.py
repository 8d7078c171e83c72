"""The trading book, as its table keeps it."""

from __future__ import annotations

import pytest

from homeostat.store import trading
from homeostat.store.database import transaction


@pytest.mark.usefixtures("store")
def test_a_book_read_anew_under_its_lock_keeps_what_was_not_written_yet() -> None:
    with transaction() as session, session.no_autoflush:
        book = trading.book_of(session, trading.PAPER)
        book.equity -= 100.0
        assert trading.book_of(session, trading.PAPER, lock=True) is book
    with transaction() as session:
        kept = trading.book_of(session, trading.PAPER).equity
    assert kept == trading.FIRST_EQUITY - 100.0
