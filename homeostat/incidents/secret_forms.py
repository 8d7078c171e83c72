"""What gives a secret away: its name, its form, and the forms in which a known value is written."""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import quote, quote_plus

from homeostat.incidents.rendering import clean

MASK = "[redacted]"
#: A shorter value would blot out ordinary words.
SHORTEST_SECRET = 5
LONG_WORD = 10

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
#: With one of these, tokens are a language model's, and counted.
_AMOUNTS = frozenset({"count", "limit", "max", "min", "per", "total", "used", "budget"})
_ENDINGS = ("password", "passwd", "passphrase", "secret", "token", "apikey", "credentials")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_NAME = (
    r"[\w.-]{0,40}?(?:passw(?:or)?d|pass(?![\w.-])|passphrase|passcode|pwd|secret|token|api[_-]?key|apikey"
    r"|access[_-]?key|private[_-]?key|secret[_-]?key|signing[_-]?key|encryption[_-]?key"
    r"|credentials?|authorization|cookie|dsn|jwt|session[_-]?id)[\w.-]{0,20}"
)
_NAMED = rf"{_NAME}['\"]?\s{{0,3}}(?>:=|=>|[:=])\s{{0,3}}+|--{_NAME}\s{{1,3}}"
_QUOTED = r"[bru]{0,2}\"(?:[^\"\\]|\\.)*(?:\"|\Z)|[bru]{0,2}'(?:[^'\\]|\\.)*(?:'|\Z)"


@lru_cache(maxsize=4_096)
def is_secret_name(name: str) -> bool:
    """Tell whether a variable, key, header or parameter of that name holds a secret."""
    words = [word.lower() for word in _WORDS.findall(name[:200])]
    if not _AMOUNTS.isdisjoint(words):
        words = [word for word in words if word != "tokens"]
    if not _PARTS.isdisjoint(words) or "".join(words) in _PARTS:
        return True
    if any(word.endswith(_ENDINGS) for word in words):
        return True
    return any(
        word in {"key", "keys"} and before in _KEY_OWNERS
        for before, word in itertools.pairwise(words)
    )


def _parameters_hidden(match: re.Match[str]) -> str:
    """Return a statement's parameters without texts, where it names a secret column.

    Which of them belongs to that column only the database's own grammar could tell.
    """
    statement, between, parameters = match.groups()
    if any(map(is_secret_name, re.findall(r"\w+", statement))):
        parameters = re.sub(_QUOTED, MASK, parameters)
    return f"{statement}{between}{parameters}"


_RULES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # PEM blocks (RFC 7468), whole or cut off.
        (
            (r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
            r"[\s\S]*?(?:-----END [A-Z0-9 ]*KEY(?: BLOCK)?-----|\Z)"),
            MASK,
        ),
        # The user part of a URL (RFC 3986): scheme://user:password@host; a lone user is a token.
        # A password may itself hold `@` and `/`, unquoted; the last `@` of the word ends it.
        (
            (r"(?<![\w+.-])([A-Za-z][\w+.-]{1,30}://)(?:[^\s/@'\"<>:]{0,200}:(?!\d{1,5}/)"
            r"[^\s'\"<>]{1,2000}|[^\s/@'\"<>]{1,2000})@"),
            rf"\1{MASK}@",
        ),
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
        # SQLAlchemy's words about a statement that failed, and PostgreSQL's about a row.
        (r"(\[SQL: [\s\S]{1,20000}?)(\]\s*\[parameters: )([\s\S]*)", _parameters_hidden),
        (r"(Failing row contains \().*(?=\))", rf"\1{MASK}"),
        (rf"(?i)(\bKey \((?:[^)]*\W)?{_NAME}(?:\W[^)]*)?\)=\()[^)]*", rf"\1{MASK}"),
        # `curl -u user:password`, as a line or as a list that is shown as text.
        (
            (r"(\bcurl\b[^\n]{0,1000}?['\"\s](?:-[uU]|--(?:proxy-)?user)(?:['\"]?,?\s*|=)['\"]?"
            r"[^\s:'\"]{1,100}:)[^\s'\"]+"),
            rf"\1{MASK}",
        ),
        # A block of YAML, and a value below its name.
        (
            (rf"(?i)(?<![\w.-])({_NAME}:[ \t]*(?:[|>][-+]?[ \t]*)?\r?\n[ \t]*)"
            r"(?![-#{\[])[^\s:]+(?=\s|\Z)"),
            rf"\1{MASK}",
        ),
        # An option and its value in a list that is shown as text, and an element of XML.
        (rf"(?i)(['\"]--?{_NAME}['\"],\s*)(?:{_QUOTED})", rf"\1{MASK}"),
        (rf"(?i)(<({_NAME})>)[^<]+(?=</\2>)", rf"\1{MASK}"),
        # A line of code, `password: str = "…"`.
        (rf"(?i)\b({_NAME}\s?:\s?[\w.| \[\]]{{1,40}}=\s?)(?:{_QUOTED})", rf"\1{MASK}"),
        # name=value, name: value, "name": "value", --name value; quoted values whole.
        (
            (rf"(?i)(?<![\w.-])({_NAMED})(?!\[redacted)(?:\"\"\"[\s\S]*?(?:\"\"\"|\Z)"
            r"|'''[\s\S]*?(?:'''|\Z)"
            rf"|{_QUOTED}|[^\s'\",;&)}}\]]+)"),
            rf"\1{MASK}",
        ),
    )
)  # fmt: skip
#: Without one of these (case folded) no rule can match, so most texts cost a few quick scans.
_TRIGGERS = (
    "://", "-----begin", "eyj", "akia", "asia", "abia", "acca", "ghp_", "gho_", "ghu_", "ghs_",
    "ghr_", "github_pat", "glpat", "xox", "xapp", "sk_", "sk-", "rk_", "whsec", "aiza", "ya29",
    "npm_", "pypi-", "pass", "pwd", "secret", "token", "key",
    "credential", "authoriz", "cookie", "dsn", "jwt", "session", "bearer", "basic", "digest",
    "negotiate", "curl", "failing row", "[parameters: ",
)  # fmt: skip


def by_rules(text: str) -> str:
    """Return the text without what is known for a secret by its name or its form."""
    folded = text.casefold()
    if any(map(folded.__contains__, _TRIGGERS)):
        for pattern, replacement in _RULES:
            text = pattern.sub(replacement, text)
    return text


def forms_of(value: str) -> set[str]:
    """Return the value as it is, quoted, percent-encoded, in hexadecimal and within base64.

    In base64 three bytes make four characters, so there are three forms, one for each place at
    which the value may begin in a longer text; the characters at its ends depend on its neighbours.
    """
    raw = value.encode("utf-8", "surrogateescape")
    escaped = value.encode("unicode_escape").decode("ascii")
    forms = {clean(value), escaped, raw.hex(), quote(raw, safe=""), quote(raw), quote_plus(raw)}
    for quoted in (value, clean(value)):
        forms |= {quoted.replace("\\", "\\\\").replace(mark, f"\\{mark}") for mark in "'\""}
    forms.add(json.dumps(clean(value))[1:-1])
    forms.add(base64.b64encode(raw).decode().rstrip("="))
    if len(raw) >= LONG_WORD:
        for before in range(3):
            whole = base64.b64encode(b"\0" * before + raw).decode()
            inside = whole[4 if before else 0 : len(whole) // 4 * 4 - 4]
            forms |= {inside, inside.translate(_URL_SAFE)}
    return {form for form in forms if len(form) >= SHORTEST_SECRET}


def password_within(word: str) -> str:
    """Return the password of a `Basic` header's word (RFC 7617), empty where it is none."""
    try:
        told = base64.b64decode(word, validate=True).decode("utf-8")
    except ValueError:
        return ""
    return told.partition(":")[2]


_URL_SAFE = str.maketrans("+/", "-_")
