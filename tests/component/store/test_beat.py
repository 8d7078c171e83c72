"""The beat's lock and its timetable, on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from homeostat.clock import utcnow
from homeostat.store import beat
from homeostat.store.beat import ADDED, SHIPPED, BeatEntry, Hold
from homeostat.store.database import reading, transaction

pytestmark = pytest.mark.usefixtures("store")

TTL = timedelta(seconds=6)
RUN_OUT = timedelta(seconds=-1)
SENT = datetime(2026, 3, 1, tzinfo=UTC)


def take(holder: str, ttl: timedelta = TTL, *, dead: str | None = None) -> Hold | None:
    with transaction() as session:
        return beat.take(session, holder, ttl, dead=dead)


def taken(holder: str, ttl: timedelta = TTL, *, dead: str | None = None) -> Hold:
    hold = take(holder, ttl, dead=dead)
    assert hold is not None
    return hold


def renew(hold: Hold, sent_until: datetime | None = None) -> bool:
    with transaction() as session:
        return beat.renew(session, hold, TTL, sent_until)


def entry(name: str, interval_s: float, source: str = SHIPPED) -> BeatEntry:
    return BeatEntry(
        name=name,
        task=f"checks.{name}",
        interval_s=interval_s,
        declared_s=interval_s,
        kwargs={},
        catch_up=True,
        source=source,
    )


def declare(*entries: BeatEntry) -> None:
    with transaction() as session:
        beat.declare(session, entries)


def intervals() -> dict[str, float]:
    with reading() as session:
        return {row.name: row.interval_s for row in beat.timetable(session)}


def test_a_held_lock_is_not_given_to_a_second() -> None:
    taken("first")

    assert take("second") is None


def test_a_lock_that_ran_out_goes_to_the_next_with_a_greater_token() -> None:
    first = taken("first", RUN_OUT)
    second = taken("second")

    assert second.token > first.token
    assert not renew(first)
    assert renew(second)


def test_a_dead_holder_is_not_waited_for() -> None:
    taken("first")

    assert take("second", dead="another") is None
    assert take("second", dead="first") is not None


def test_a_token_is_above_what_the_broker_has_seen() -> None:
    seen = 10**15
    with transaction() as session:
        hold = beat.take(session, "first", TTL, above=seen)

    assert hold is not None
    assert hold.token == seen + 1


def test_a_released_lock_is_free_at_once() -> None:
    first = taken("first")
    with transaction() as session:
        assert beat.release(session, first, SENT)

    assert taken("second").sent_until == SENT


def test_the_next_holder_learns_what_was_sent() -> None:
    first = taken("first")
    assert renew(first, SENT)

    assert taken("second", dead="first").sent_until == SENT


def test_one_that_lost_the_lock_cannot_write_what_was_sent() -> None:
    first = taken("first", RUN_OUT)
    assert renew(taken("second"), SENT)
    renew(first, SENT + timedelta(hours=1))

    with reading() as session:
        assert beat.lock_of(session).sent_until == SENT


def test_what_is_no_longer_declared_leaves_and_what_was_added_stays() -> None:
    declare(entry("a", 5), entry("b", 10))
    with transaction() as session:
        session.add(entry("mine", 7, ADDED))

    declare(entry("b", 10), entry("c", 20))

    assert intervals() == {"b": 10, "c": 20, "mine": 7}


def test_a_changed_interval_outlasts_a_restart_until_its_declaration_changes() -> None:
    declare(entry("a", 5))
    with transaction() as session:
        beat.set_interval(session, "a", 30)

    declare(entry("a", 5))
    assert intervals() == {"a": 30}
    declare(entry("a", 6))
    assert intervals() == {"a": 6}


def test_every_change_shows_in_the_fingerprint() -> None:
    prints = set()

    def look() -> None:
        with reading() as session:
            prints.add(beat.fingerprint(session))

    look()
    declare(entry("a", 5))
    look()
    with transaction() as session:
        beat.set_interval(session, "a", 8)
    look()
    declare()
    look()

    assert len(prints) == 3  # an empty table looks like an empty table
    declare(entry("a", 5))
    look()
    assert len(prints) == 4


def test_a_change_says_since_when_it_holds() -> None:
    declare(entry("a", 5))
    before = utcnow()
    with transaction() as session:
        changed = beat.set_interval(session, "a", 8)

    assert changed.since >= before


def test_an_unknown_entry_and_an_interval_of_nothing_are_refused() -> None:
    with transaction() as session, pytest.raises(beat.UnknownEntryError):
        beat.set_interval(session, "nobody", 5)
    declare(entry("a", 5))
    with transaction() as session, pytest.raises(ValueError, match="positive"):
        beat.set_interval(session, "a", 0)
