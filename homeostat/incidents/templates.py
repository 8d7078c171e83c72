"""Message templates: the values in a message give way to placeholders, the words stay.

`template_of` is a pure function, so that it may stand in a key: the same message gives the same
template in every process, on every machine. (The mining of templates from many messages, which
depends on what came before, is `homeostat.incidents.grouping`.)

A message is masked word by word, and a word's mask is remembered: words repeat far more often
than messages, which makes a stream of logs cheap.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

#: Only the beginning of a message says what happened.
LONGEST_MESSAGE = 16_000
#: Each quote may start a value, and looking for its end takes the rest of the message.
MOST_QUOTES, SHORTENED = 400, 2_000
LONGEST_TEMPLATE = 1_000
_PUNCTUATION = ",.:;!?()[]\"'"
#: A hash may happen to be all letters.
SHORTEST_HASH = 32
#: A longer word is data.
LONGEST_WORD = 200

# Quoted values; the opening quote must not follow a letter, so that `can't` stays a word.
_QUOTED = re.compile(
    r"""(?<![\w'"`])[bBrRuUfF]{0,2}(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`\n]*`)(?![\w"'`])"""
)
#: In a quoted request line the method is no value.
_REQUEST = re.compile(r"[\"'](GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) ")
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
_DAY = r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6}"
_UNIT = (
    r"(?:ns|us|µs|μs|ms|msec|msecs|s|sec|secs|m|min|mins|h|hr|hrs|d"
    r"|nanoseconds?|microseconds?|milliseconds?|seconds?|minutes?|hours?|days?|weeks?)"
)
_NUMBER = r"[-+]?(?:\d[\d_]*+(?:[.,]\d++)*(?:[eE][-+]?\d++)?|\.\d++(?:[eE][-+]?\d++)?)"
_IPV4 = r"\d{1,3}(?:\.\d{1,3}){3}"
_IPV6 = r"(?:(?:[0-9a-f]{0,4}:){2,8}(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]{1,4})|(?:[0-9a-f]{1,4}:)*:)"
_TLD = (
    "com|org|net|edu|gov|mil|int|info|io|dev|app|cloud|local|localdomain|internal|lan|intra|corp"
    "|home|test|example|invalid|svc|hk|cn|de|uk|fr|jp|us|eu|ch|at|nl|ru|br|in|it|es|se|au|ca"
)
_WORD_MASKS: tuple[tuple[str, str], ...] = (
    ("URL", r"[a-z][a-z0-9+.-]{1,20}://[^\s<>\"'\])},;]*+"),
    ("EMAIL", r"(?<![\w.+-])[\w.+-]++@[\w-]+(?:\.[\w-]+)+"),
    ("UUID", r"(?<![0-9a-z])[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}(?![0-9a-z])"),
    (
        "DATE",
        r"(?<![\w.])\d{4}[-/.]\d{1,2}[-/.]\d{1,2}"
        r"(?:[t_ -]?\d{1,2}[:.]\d{2}(?:[:.]\d{2})?(?:[.,]\d+)?)?"
        r"(?:z|[-+]\d{2}:?\d{2})?(?![\w])"
        r"|(?<![\w.])\d{1,2}[-/](?:\d{1,2}|" + _MONTH + r")[-/]\d{2,4}(?!\w)"
        r"|(?<![\w.:])\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?(?:z|[-+]\d{2}:?\d{2})?(?!\w|:\d)",
    ),
    (
        "HOST",
        (rf"(?<![\w.-]){_IPV4}(?::\d+|/\d{{1,2}})?(?![\w])"
        rf"|(?<![\w.:])\[?(?=[0-9a-f.]*:[0-9a-f.]*:){_IPV6}\]?(?::\d+)?(?:%\w+)?(?!\w|:\w|::)"
        rf"|(?<![\w.@-])(?:[a-z0-9](?:[\w-]*[a-z0-9])?\.)+(?:{_TLD})\.?(?::\d+)?(?![\w.-])"
        r"|(?<![\w.@-])(?:[a-z0-9][\w-]*\.)*[a-z][\w-]*:\d{2,5}(?![\w:.-])"
        r"|(?<![\w.-])localhost(?![\w.-])"),
    ),
    (
        "PATH",
        (r"(?<![\w.])(?:[a-z]:)?(?:[/\\][\w.+@%$~{}#=-]+){2,}[/\\]?"
        r"|(?<![\w.:/\\])~?/[\w.+@%-]+/?"),
    ),
    (
        "HASH",
        (r"(?<![0-9a-z])(?:[0-9a-f]{128}|[0-9a-f]{96}|[0-9a-f]{64}|[0-9a-f]{56}|[0-9a-f]{40}"
        r"|[0-9a-f]{32})(?![0-9a-z])"),
    ),
    (
        "HEX",
        (r"(?<![0-9a-z])0x[0-9a-f]+(?![0-9a-z])"
        r"|(?<![0-9a-z])(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{7,}(?![0-9a-z])"
        r"|(?<![0-9a-z:])[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}(?![0-9a-z:])"),
    ),
    ("DURATION", rf"(?<![\w.]){_NUMBER}{_UNIT}(?![\w])|(?<![\w.])(?:\d++[dhms]){{2,}}(?![\w])"),
    ("SIZE", rf"(?<![\w.]){_NUMBER}(?:[kmgtp]i?b|bytes?)(?!\w)"),
    # Letters and digits in turn, twice at least: an identifier such as `a1b2c3`.
    ("ID", r"(?<![0-9a-z])(?=[a-z]*\d+[a-z]+\d+[a-z]|[a-z]+\d+[a-z]+\d)[0-9a-z]{6,}(?![0-9a-z])"),
    ("NUM", rf"(?<![\d.]){_NUMBER}%?"),
)  # fmt: skip
_WORD = re.compile(
    "|".join(f"(?P<{name}>{pattern})" for name, pattern in _WORD_MASKS), re.IGNORECASE
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_AMOUNT = re.compile(rf"<NUM> {_UNIT}(?!\w)", re.IGNORECASE)


def _names_month(text: str) -> bool:
    folded = text.casefold()
    return "<num>" in folded and any(month in folded for month in _MONTHS)


#: What the words together say, each behind the cheap test, if any, without which it cannot match.
_JOINED: tuple[tuple[Callable[[str], object] | None, re.Pattern[str], str], ...] = tuple(
    (needs, re.compile(pattern, re.IGNORECASE), replacement)
    for needs, pattern, replacement in (
        (
            _names_month,
            rf"(?:\b{_DAY},? )?\b{_MONTH} <NUM>,?(?: <NUM>)?(?: <DATE>)?(?: <NUM>)?",
            "<DATE>",
        ),
        (_names_month, rf"(?:\b{_DAY},? )?<NUM> {_MONTH},?(?: <NUM>)?(?: <DATE>)?", "<DATE>"),
        (None, r"<DATE>[ ,T]*<DATE>(?: ?(?:[AP]M|UTC|GMT|Z)\b)?(?: ?[+-]?<NUM>)?", "<DATE>"),
        (_AMOUNT.search, rf"(?:[<>~] ?)?<NUM> {_UNIT}(?!\w)", "<DURATION>"),
        (None, r"<NUM> (?:bytes?|[KMGTP]i?B|B)(?!\w)", "<SIZE>"),
        (None, r"<SIZE> ?\(<SIZE>\)", "<SIZE>"),
        (None, r"<DURATION>(?:[ ,]+(?:and )?<DURATION>)+", "<DURATION>"),
        (None, r"(<[A-Z]+>)(?:[,;:]? ?\1)+", r"\1"),
    )
)


#: A hash may happen to be all digits, so what identifies a thing has one placeholder.
_PLACEHOLDERS = {"HASH": "<NUM>", "HEX": "<NUM>", "ID": "<NUM>"}


def _mask(match: re.Match[str]) -> str:
    kind = match.lastgroup or ""
    return _PLACEHOLDERS.get(kind, f"<{kind}>")


def _mask_quoted(match: re.Match[str]) -> str:
    verb = _REQUEST.match(match[0])
    return f"{verb[1]} <VALUE>" if verb else "<VALUE>"


@lru_cache(maxsize=65_536)
def _masked_word(word: str) -> str:
    bare = word.strip(_PUNCTUATION)
    if len(word) < SHORTEST_HASH and bare.isalpha() and bare.lower() != "localhost":
        return word  # nothing but letters: no mask can match, and most words are such
    if len(word) > LONGEST_WORD:
        return "<VALUE>"
    return _WORD.sub(_mask, word)


def _folded(words: list[str]) -> list[str]:
    """Leave one of several equal masked words in a row: a list's length is a value, too."""
    return [
        word
        for number, word in enumerate(words)
        if number == 0 or word != words[number - 1] or "<" not in word
    ]


def template_of(message: str) -> str:
    """Return the message with its values masked and its white space folded.

    E-mail addresses, URLs, hosts and addresses, UUIDs, hashes, dates and times, durations, hex
    and other numbers, paths and quoted values become `<EMAIL>`, `<URL>`, … A row of the same
    placeholder becomes one, so a list of any length gives one template. What is glued to a value
    (`3/day`, `0/@`) is read as part of a word and stays, so a template may not be masked again.
    """
    text = message[:LONGEST_MESSAGE]
    if text.count("'") + text.count('"') + text.count("`") > MOST_QUOTES:
        text = text[:SHORTENED]
    if "'" in text or '"' in text or "`" in text:
        text = _QUOTED.sub(_mask_quoted, text)
    text = " ".join(_folded(list(map(_masked_word, text.split()))))
    if "<" in text:
        for needs, pattern, replacement in _JOINED:
            if needs is None or needs(text):
                text = pattern.sub(replacement, text)
    return text[:LONGEST_TEMPLATE]


def forget_words() -> None:
    """Empty the memory of masked words, so that a measurement starts cold."""
    _masked_word.cache_clear()
