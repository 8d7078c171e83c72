"""The redactor: no secret leaves a process in a bundle, a message or a log line.

A secret is known by its name (a variable, key, header or parameter called `password`), by its
form (tokens with a known prefix, private keys, passwords in URLs) or by its value: what stands in
an environment variable with such a name, or was announced by `protect`, is removed wherever it
turns up.
"""

from __future__ import annotations

import base64
import itertools
import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from homeostat.incidents.rendering import clean

if TYPE_CHECKING:
    from pydantic import JsonValue

MASK = "[redacted]"
#: Bytes as `homeostat.incidents.rendering` shows them.
_SHOWN_BYTES = re.compile(r"b(['\"])(.*)\1 \(\d+ bytes\)$", re.DOTALL)
LONG_WORD = 10
#: Texts up to this length are remembered: a bundle's are the same words from one to the next.
REMEMBERED = 100
#: A shorter value would blot out ordinary words.
SHORTEST_SECRET = 5
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

_PARTS = frozenset(
    {
        "password", "passwd", "passphrase", "passcode", "pwd", "pw", "pass", "secret", "secrets",
        "token", "tokens", "apikey", "auth", "authorization", "credential", "credentials", "creds",
        "cookie", "cookies", "jwt", "bearer", "otp", "totp", "pin", "cvv", "cvc", "ssn", "iban",
        "dsn", "salt", "hmac", "sessionid", "csrf", "xsrf", "privatekey", "secretkey", "accesskey",
    }
)  # fmt: skip
_KEY_OWNERS = frozenset(
    {"api", "private", "secret", "access", "signing", "encryption", "master", "shared", "session",
     "account", "storage", "deploy", "ssh", "gpg", "rsa", "aes", "client", "service", "license"}
)  # fmt: skip
_ENDINGS = ("password", "passwd", "passphrase", "secret", "token", "apikey", "credentials")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_NAME = (
    r"[\w.-]{0,40}?(?:passw(?:or)?d|passphrase|passcode|pwd|secret|token|api[_-]?key|apikey"
    r"|access[_-]?key|private[_-]?key|secret[_-]?key|signing[_-]?key|encryption[_-]?key"
    r"|credentials?|authorization|cookie|dsn|jwt|session[_-]?id)[\w.-]{0,20}"
)
_NAMED = rf"{_NAME}['\"]?\s{{0,3}}(?>:=|=>|[:=])\s{{0,3}}+|--{_NAME}\s{{1,3}}"
_QUOTED = r"[bru]{0,2}\"(?:[^\"\\]|\\.)*(?:\"|\Z)|[bru]{0,2}'(?:[^'\\]|\\.)*(?:'|\Z)"
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # PEM blocks (RFC 7468), whole or cut off.
        (
            r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]*KEY-----|\Z)",
            MASK,
        ),
        # The user part of a URL (RFC 3986): scheme://user:password@host; a lone user is a token.
        (r"(?<![\w+.-])([A-Za-z][\w+.-]{1,30}://)[^\s/@'\"<>]{1,2000}@", rf"\1{MASK}@"),
        # HTTP authentication schemes (RFC 9110).
        (r"\b((?i:bearer))[ :]+(?!\[)[\w~+/.=-]{6,}", rf"\1 {MASK}"),
        (r"\b((?i:basic|digest|negotiate)) +(?=\S*[A-Z0-9=])[\w~+/.=-]{8,}", rf"\1 {MASK}"),
        # Header lines that are secret as a whole.
        (
            (r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|x-api-key|x-auth-token)"
            r"(['\"]?\s*+[:=]\s*+['\"]?+)(?!\[redacted)[^\r\n'\"]+"),
            rf"\1\2{MASK}",
        ),
        # JSON web tokens (RFC 7519): three base64url parts, the first begins `{"`.
        (r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?", MASK),
        # Issuers' documented prefixes: AWS, GitHub, GitLab, Slack, Stripe, Google and registries.
        (r"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])", MASK),
        (r"(?<![A-Za-z0-9])(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,})", MASK),
        (r"(?<![A-Za-z0-9])(?:xox[abeoprs]-[\w-]{10,}|xapp-[\w-]{10,})", MASK),
        (r"(?<![A-Za-z0-9])(?:[sr]k_(?:live|test)_\w{10,}|whsec_\w{16,}|sk-[\w-]{16,})", MASK),
        (r"(?<![A-Za-z0-9])(?:AIza[\w-]{30,}|ya29\.[\w-]{20,}|npm_\w{30,}|pypi-[\w-]{30,})", MASK),
        (r"https://hooks\.slack\.com/services/[\w/]+", MASK),
        # name=value, name: value, "name": "value", --name value; quoted values whole.
        (
            rf"(?i)(?<![\w.-])({_NAMED})(?!\[redacted)(?:{_QUOTED}|[^\s'\",;&)}}\]]+)",
            rf"\1{MASK}",
        ),
    )
)  # fmt: skip
#: Without one of these (case folded) no rule can match, so most texts cost a few quick scans.
_TRIGGERS = (
    "://", "-----begin", "eyj", "akia", "asia", "abia", "acca", "ghp_", "gho_", "ghu_", "ghs_",
    "ghr_", "github_pat", "glpat", "xox", "xapp", "sk_", "sk-", "rk_", "whsec", "aiza", "ya29",
    "npm_", "pypi-", "passw", "passphrase", "passcode", "pwd", "secret", "token", "key",
    "credential", "authoriz", "cookie", "dsn", "jwt", "session", "bearer", "basic", "digest",
    "negotiate",
)  # fmt: skip


@lru_cache(maxsize=4_096)
def is_secret_name(name: str) -> bool:
    """Tell whether a variable, key, header or parameter of that name holds a secret."""
    words = [word.lower() for word in _WORDS.findall(name[:200])]
    if not _PARTS.isdisjoint(words) or "".join(words) in _PARTS:
        return True
    if any(word.endswith(_ENDINGS) for word in words):
        return True
    return any(
        word in {"key", "keys"} and before in _KEY_OWNERS
        for before, word in itertools.pairwise(words)
    )


def _by_rules(text: str) -> str:
    """Return the text without what is known for a secret by its name or its form."""
    folded = text.casefold()
    if any(map(folded.__contains__, _TRIGGERS)):
        for pattern, replacement in _RULES:
            text = pattern.sub(replacement, text)
    return text


_short_by_rules = lru_cache(maxsize=8_192)(_by_rules)


class Redactor:
    """Removes secrets from texts and JSON values; knows the values that it was told or saw."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        """Start with the given secret values."""
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        for value in values:
            self.protect(value)

    def protect(self, value: str) -> None:
        """Remove this value wherever it turns up, also percent-encoded and in base64."""
        if len(value) < SHORTEST_SECRET or value.isspace():
            return
        raw = value.encode("utf-8", "surrogateescape")
        self._values |= {
            clean(value),
            quote(raw, safe=""),
            value.encode("unicode_escape").decode("ascii"),
            base64.b64encode(raw).decode().rstrip("="),
        }
        self._pattern = None

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
        text = clean(text)
        if self._values and len(text) >= SHORTEST_SECRET:
            if self._pattern is None:
                longest_first = sorted(self._values, key=len, reverse=True)
                self._pattern = re.compile("|".join(map(re.escape, longest_first)))
            text = self._pattern.sub(MASK, text)
        return _short_by_rules(text) if len(text) <= REMEMBERED else _by_rules(text)

    def value(self, value: JsonValue, name: str = "") -> JsonValue:
        """Return a JSON value without secrets; what stands under a secret name goes whole."""
        if name and value is not None and not isinstance(value, bool) and is_secret_name(name):
            return MASK
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self.value(item, key) for key, item in value.items()}
        if isinstance(value, list):
            if _is_secret_pair(value):
                return [value[0], MASK]
            return [self.value(item) for item in value]
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
        elif isinstance(value, dict):
            for key, item in value.items():
                self.learn(item, key if is_secret_name(key) else name)
        elif isinstance(value, list):
            if _is_secret_pair(value):
                self.learn(value[1], str(value[0]))
            for item in value:
                self.learn(item, name)


def _is_secret_pair(value: list[JsonValue]) -> bool:
    """Tell whether a list is a header-like pair: `["Authorization", "…"]`."""
    pair = 2
    return len(value) == pair and isinstance(value[0], str) and is_secret_name(value[0])


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
