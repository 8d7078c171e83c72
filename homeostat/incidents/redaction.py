"""The redactor: no secret leaves a process in a bundle, a message or a log line.

A secret is known by its name (a variable, key, header or parameter called `password`), by its
form (tokens with a known prefix, private keys, passwords in URLs) or by its value: what stands in
an environment variable with such a name, or was announced by `protect`, is removed wherever it
turns up.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from homeostat.incidents.rendering import clean
from homeostat.incidents.secret_forms import (
    LONG_WORD,
    MASK,
    SHORTEST_SECRET,
    by_rules,
    forms_of,
    is_secret_name,
    password_within,
)

if TYPE_CHECKING:
    from pydantic import JsonValue

__all__ = ["MASK", "Redactor", "is_secret_name", "protect", "redact", "redactor"]

#: Bytes as `homeostat.incidents.rendering` shows them.
_SHOWN_BYTES = re.compile(r"b(['\"])(.*)\1 \(\d+ bytes\)$", re.DOTALL)
#: Texts up to this length are remembered: a bundle's are the same words from one to the next.
REMEMBERED = 100
MOST_REMEMBERED = 8_192
#: A longer text is no header's or option's name.
LONG_NAME = 80
_FEWEST = 2
#: An option, or the name of what the next line holds.
_CURL_LOGIN = ("-u", "--user", "-U", "--proxy-user")
_LABEL = re.compile(r"--?[A-Za-z][\w-]*$|\s*[\w.-]{1,40}:\s*$")
#: Of a value that was cut off with its text, so many characters give it away.
SHORTEST_PIECE = 6
#: How a text that was cut ends, or how long it is where its end does not say so.
_CUT = re.compile(r"(?:… \(\d+ characters\)|['\"] \(\d+ bytes\))$")
_CUT_AT = frozenset({500, 2_000, 4_000, 64_000})
#: Values that are common words of configuration, not secrets, whatever their name.
_HARMLESS = frozenset(
    {
        "false",
        "true",
        "none",
        "null",
        "default",
        "enabled",
        "disabled",
        "admin",
        "guest",
        "localhost",
        "postgres",
        "redis",
        "required",
        "optional",
    }
)

_short_by_rules = lru_cache(maxsize=MOST_REMEMBERED)(by_rules)


class Redactor:
    """Removes secrets from texts and JSON values; knows the values that it was told or saw."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        """Start with the given secret values."""
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        #: The beginnings of the values, for texts that were cut; the longest one's length.
        self._beginnings: frozenset[str] = frozenset()
        self._longest = 0
        #: Short texts as they were cleaned: the frames of a chain say the same again and again.
        self._cleaned: dict[str, str] = {}
        for value in values:
            self.protect(value)

    def protect(self, value: str) -> None:
        """Remove this value wherever it turns up, also percent-encoded and in base64."""
        if len(value) < SHORTEST_SECRET or value.isspace():
            return
        self._values |= {*forms_of(value), clean(value.upper()), clean(value.lower())}
        self._pattern, self._longest = None, 0
        self._cleaned.clear()

    def protect_environment(self, environment: Mapping[str, str] | None = None) -> None:
        """Protect the values of the environment variables whose names say that they are secret."""
        for name, value in (os.environ if environment is None else environment).items():
            if is_secret_name(name) and value.lower() not in _HARMLESS:
                self.protect(value)
            # A URL's password is a secret under any variable's name.
            match = re.match(r"[\w+.-]+://[^\s/@:]*:([^\s/@]+)@", value)
            if match:
                self.protect(match.group(1))

    def text(self, text: str) -> str:
        """Return the text without secrets, and without what no database stores."""
        if len(text) > REMEMBERED:
            return by_rules(self._without_known(clean(text)))
        cleaned = self._cleaned.get(text)
        if cleaned is None:
            if len(self._cleaned) >= MOST_REMEMBERED:
                self._cleaned.clear()
            cleaned = _short_by_rules(self._without_known(clean(text)))
            self._cleaned[text] = cleaned
        return cleaned

    def _without_known(self, text: str) -> str:
        if not self._values or len(text) < SHORTEST_SECRET:
            return text
        if self._pattern is None:
            longest_first = sorted(self._values, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))
        text = self._pattern.sub(MASK, text)
        cut = len(text) in _CUT_AT or _CUT.search(text)
        return self._without_cut_off(text) if cut else text

    def _without_cut_off(self, text: str) -> str:
        """Remove the beginning of a known value on which a text was cut."""
        if not self._longest:
            self._longest = max(map(len, self._values))
            self._beginnings = frozenset(
                one[:length] for one in self._values for length in range(SHORTEST_PIECE, len(one))
            )
        cut = _CUT.search(text)
        end = cut.start() if cut else len(text)
        for length in range(min(self._longest, end), SHORTEST_PIECE - 1, -1):
            if text[end - length : end] in self._beginnings:
                return text[: end - length] + MASK + text[end:]
        return text

    def value(self, value: JsonValue, name: str = "") -> JsonValue:
        """Return a JSON value without secrets; what stands under a secret name goes whole."""
        if name and value is not None and not isinstance(value, bool) and is_secret_name(name):
            return MASK
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {
                self.text(key): self.value(item, _named(value, key)) for key, item in value.items()
            }
        if isinstance(value, list):
            secret = _secret_places(value)
            return [
                MASK if place in secret else self.value(item) for place, item in enumerate(value)
            ]
        return value

    def learn(self, value: JsonValue, name: str = "") -> None:
        """Protect every text that stands under a secret name in a JSON value."""
        if isinstance(value, str):
            if name and is_secret_name(name) and value.lower() not in _HARMLESS:
                shown = _SHOWN_BYTES.match(value)
                self.protect(shown[2] if shown else value)
                # `Bearer …` is two words, and the second is the secret.
                for word in value.split():
                    if len(word) >= LONG_WORD:
                        self.protect(word)
                        self.protect(password_within(word))
        elif isinstance(value, dict):
            for key, item in value.items():
                called = _named(value, key)
                self.learn(item, called if is_secret_name(called) else name)
        elif isinstance(value, list):
            for place in _secret_places(value):
                self.learn(value[place], "secret")
            for item in value:
                self.learn(item, name)


def _named(document: Mapping[str, JsonValue], key: str) -> str:
    """Return what an entry is called: an enum's value (`_value_`) goes by its member's name."""
    member = document.get("_name_") if key == "_value_" else None
    return member if isinstance(member, str) else key


def _secret_places(value: list[JsonValue]) -> set[int]:
    """Return the places in a list whose values are secret by what stands before or among them.

    Header-like pairs, `["Authorization", "…"]`, also doubled as some libraries keep them; options
    of a command line, `["--password", "…"]`; the user and password of a call of curl; the line
    below `password:`; the lines of a private key.
    """
    first = value[0] if value else None
    names = [item for item in value[:-1] if isinstance(item, str) and len(item) < LONG_NAME]
    if (
        isinstance(first, str)
        and _FEWEST <= len(value) <= _FEWEST + 1
        and len(names) == (len(value) - 1)
        and all(map(is_secret_name, names))
    ):
        return {len(value) - 1}
    found: set[int] = set()
    in_key = False
    for place, item in enumerate(value):
        if isinstance(item, str):
            in_key = (in_key or "PRIVATE KEY" in item) and "-----END" not in item
            before = value[place - 1] if place else None
            named = isinstance(before, str) and _LABEL.match(before) and is_secret_name(before)
            named = named or (before in _CURL_LOGIN and ":" in item and "curl" in names)
            if named or (in_key and "PRIVATE KEY" not in item):
                found.add(place)
    return found


#: The process's own redactor; `protect` adds values to it, the bundle starts from a copy.
_values: set[str] = set()


def protect(value: str) -> None:
    """Have every redactor of this process remove this value."""
    _values.add(value)


def redactor() -> Redactor:
    """Return a redactor that knows this process's environment and announced secrets."""
    made = Redactor(_values)
    made.protect_environment()
    return made


def redact(text: str) -> str:
    """Return a text without secrets, by what this process knows now."""
    return redactor().text(text)
