"""Values in messages give way to placeholders; words stay."""

from __future__ import annotations

import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.incidents.templates import LONGEST_TEMPLATE, forget_words, template_of

_HEX = "0123456789abcdef"
_WORDS = st.text(string.ascii_lowercase, min_size=1, max_size=12)


def _hex(length: int) -> st.SearchStrategy[str]:
    return st.text(_HEX, min_size=length, max_size=length)


VALUES: dict[str, st.SearchStrategy[str]] = {
    "whole numbers": st.integers(-(10**18), 10**18).map(str),
    "decimals": st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9).map(
        lambda number: f"{number:.3f}"
    ),
    "UUIDs": st.uuids().map(str),
    "SHA-1": _hex(40),
    "SHA-256": _hex(64),
    "MD5": _hex(32),
    "addresses in memory": st.integers(0, 2**64 - 1).map(hex),
    "IPv4": st.ip_addresses(v=4).map(str),
    "IPv6": st.ip_addresses(v=6).map(str).filter(lambda text: text.count(":") > 2),
    "moments": st.datetimes().map(lambda moment: moment.isoformat(sep=" ")),
    "ISO moments": st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    "milliseconds": st.integers(0, 10**6).map(lambda number: f"{number}ms"),
    "mixed durations": st.tuples(
        st.integers(0, 9999), st.sampled_from(("ms", " ms", "s", " seconds", " s", "us", " min"))
    ).map(lambda pair: f"{pair[0]}{pair[1]}"),
    "sizes": st.tuples(st.integers(0, 9999), st.sampled_from(("KB", " MB", " bytes", "GiB"))).map(
        lambda pair: f"{pair[0]}{pair[1]}"
    ),
    "quoted": st.text(
        st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="'\\"), max_size=30
    ).map(lambda text: f"'{text}'"),
    "reprs": st.text(max_size=30).map(repr),
    "e-mail": st.tuples(_WORDS, _WORDS).map(lambda pair: f"{pair[0]}@{pair[1]}.example.com"),
    "URLs": st.tuples(_WORDS, st.integers(1, 9999)).map(
        lambda pair: f"https://{pair[0]}.example.com:{pair[1]}/x?id={pair[1]}"
    ),
    "hosts": st.tuples(_WORDS, st.integers(1, 65535)).map(
        lambda pair: f"{pair[0]}.internal:{pair[1]}"
    ),
    "paths": st.lists(_WORDS, min_size=2, max_size=6).map(lambda parts: "/" + "/".join(parts)),
    "lists of numbers": st.lists(st.integers(), min_size=1, max_size=8).map(
        lambda numbers: ", ".join(map(str, numbers))
    ),
}
FRAMES: tuple[Callable[[str], str], ...] = (
    lambda value: f"order {value} failed",
    lambda value: f"order {value}: retry later",
    lambda value: f"cannot handle {value}",
    lambda value: f"({value}) is not what was asked for",
    lambda value: f"key={value}, try again",
)


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
def test_two_values_of_a_kind_give_one_template(kind: str, data: st.DataObject) -> None:
    first, second = data.draw(VALUES[kind]), data.draw(VALUES[kind])
    frame = data.draw(st.sampled_from(FRAMES))
    assert template_of(frame(first)) == template_of(frame(second))


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
def test_a_template_has_nothing_left_to_mask(kind: str, data: st.DataObject) -> None:
    frame = data.draw(st.sampled_from(FRAMES))
    once = template_of(frame(data.draw(VALUES[kind])))
    assert template_of(once) == once


@given(st.text(max_size=300))
def test_any_text_gives_a_template_and_always_the_same(message: str) -> None:
    once = template_of(message)
    forget_words()
    assert template_of(message) == once
    assert len(once) <= LONGEST_TEMPLATE


_PIECES = st.sampled_from(
    ["<NUM>", "<num>", "<DATE>", "<SIZE>", "<DURATION>", "Nov", "september", "\u017fep", "May,",
     "Tue", "Fri,", "ms", "seconds", "MIN", "KB", "bytes", "<", "~", "and", ",", "UTC", "row",
     "+<NUM>"]
)  # fmt: skip


@given(st.lists(st.tuples(_PIECES, st.sampled_from([" ", "", ", "]))).map(
    lambda pairs: "".join(map("".join, pairs))
))  # fmt: skip
def test_a_step_that_is_left_out_would_have_changed_nothing(text: str) -> None:
    from homeostat.incidents.templates import _JOINED

    for needs, pattern, _ in _JOINED:
        assert needs is None or needs(text) or not pattern.search(text)


@given(st.lists(_WORDS, min_size=1, max_size=10))
def test_plain_words_stay(words: list[str]) -> None:
    from homeostat.incidents.templates import _JOINED

    text = " ".join(words)
    assert template_of(text) == text or any(pattern.search(text) for _, pattern, _ in _JOINED)


@pytest.mark.parametrize(
    ("message", "template"),
    [
        ("can't open what isn't there", "can't open what isn't there"),
        ("No module named 'shop.orders'", "No module named <VALUE>"),
        ("proxy.lan:5070 close, 0 bytes sent, 1190 bytes (1.16 KB) received, lifetime <1 sec",
         "<HOST> close, <SIZE> sent, <SIZE> received, lifetime <DURATION>"),
        ("Nov 15 08:29:04 2025 restart", "<DATE> restart"),
        ("blk_-1608999687919862906 lost", "blk_<NUM> lost"),
        ("took 1 min 5.3 seconds", "took <DURATION>"),
        ("b'\\xff\\xfe' is not UTF-8", "<VALUE> is not UTF<NUM>"),
        ("job a1b2c3d4 of 12", "job <NUM> of <NUM>"),
        ("connect to db-3.internal:5432 failed", "connect to <HOST> failed"),
        ("module shop.orders failed", "module shop.orders failed"),
    ],
)  # fmt: skip
def test_it_masks(message: str, template: str) -> None:
    assert template_of(message) == template


@pytest.mark.parametrize(
    "message",
    ["a" * 60_000, "a." * 30_000, "'" * 60_000, "1" * 60_000, "1:" * 30_000, "/" * 60_000,
     "a@" * 30_000, "<NUM> " * 10_000, "x" * 60_000 + "@", "\\" * 60_000, "'\\" * 20_000],
)  # fmt: skip
def test_no_message_makes_it_slow(message: str) -> None:
    import time

    began = time.process_time()
    template_of(message)
    assert time.process_time() - began < 0.5
