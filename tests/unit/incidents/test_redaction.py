"""Planted secrets do not come out."""
# ruff: noqa: E501, S608  # a planted text is easier to judge on one line; no statement is run

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.incidents.redaction import MASK, Redactor, is_secret_name

SECRET = "c0rrect-h0rse/battery+staple"

PLANTED = [
    f"password={SECRET}", f"PASSWORD = '{SECRET}'", f'"api_key": "{SECRET}"', f"--token {SECRET}",
    f"db_password: {SECRET}", f"https://user:{SECRET.replace('/', '')}@db.lan/x",
    f"redis://:{SECRET.replace('/', '')}@cache:6379/0", f"GET /x?access_token={SECRET}&page=2",
    f"Authorization: Bearer {SECRET}", f"authorization: Basic {base64.b64encode(SECRET.encode()).decode()}",
    f"Cookie: sid=abc; session={SECRET}", f"Set-Cookie: sid={SECRET}; HttpOnly", f"secret_key='{SECRET}'",
    f"connect(host='db', password='{SECRET}')", f"{{'client_secret': '{SECRET}'}}", f"PGPASSWORD={SECRET} psql",
    f"dsn=host=db password={SECRET}", f'{{"Authorization": "{SECRET}"}}', f"X-Api-Key: {SECRET}",
    f"curl -s -u ann:{SECRET} https://db.lan", f"['curl', '--user', 'ann:{SECRET}', 'https://db.lan']",
    f"password:\n      {SECRET}\nhost: db", f"password: |\n    {SECRET}", f"DETAIL:  Failing row contains (1, {SECRET}).",
    f"[SQL: UPDATE users SET password=? WHERE id=?]\n[parameters: ('{SECRET}', 3)]",
    f"[SQL: INSERT INTO t (a, api_token) VALUES (?, ?)]\n[parameters: [('a', '{SECRET}'), ('b', \"{SECRET}\")]]",
    f"Key (tenant, api_token)=(3, {SECRET}) already exists.",
    f"AWS_SECRET_ACCESS_KEY={SECRET}", f"passphrase => {SECRET}", f"token = b'{SECRET}'",
]  # fmt: skip

FORMS = [
    "AKIA" + "IOSFODNN7EXAMPLE", "ghp_" + "a1B2" * 10, "github_pat_" + "a1B2" * 10, "glpat-" + "x9Y8" * 6,
    "xoxb-" + "123456789012-abcdefABCDEF", "sk_live_" + "a1B2" * 6, "sk-proj-" + "a1B2" * 8,
    "AIza" + "SyA1234567890abcdefghijklmnopqrstuv", "npm_" + "a1B2" * 9, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA",
]  # fmt: skip

#: A value with all that a notation may escape.
QUOTED = "zq7Wc0rrect'h0rse\"b@ttery/9k"


@pytest.mark.parametrize("text", PLANTED)
def test_a_named_secret_is_removed(text: str) -> None:
    cleaned = Redactor().text(f"before {text} after")
    assert SECRET not in cleaned
    assert SECRET.replace("/", "") not in cleaned
    assert base64.b64encode(SECRET.encode()).decode() not in cleaned
    assert MASK in cleaned
    assert cleaned.startswith("before ")


@pytest.mark.parametrize(
    "text",
    ["docker run -u 1000:1000 --user app:app shop", "[SQL: UPDATE t SET a=? WHERE b=?]\n[parameters: ('ann', 3)]",
     "Key (id)=(3) already exists.", "secrets:\n    - name: db", "curl failed: 7"],
)  # fmt: skip
def test_a_harmless_text_stays(text: str) -> None:
    assert Redactor().text(text) == text


@pytest.mark.parametrize("secret", FORMS)
def test_a_secret_of_known_form_is_removed(secret: str) -> None:
    cleaned = Redactor().text(f"it was {secret} here")
    assert secret not in cleaned
    assert secret[-12:] not in cleaned


@pytest.mark.parametrize(
    "name",
    ["password", "db_password", "DB_PASSWORD", "apiKey", "API_KEY", "accessToken", "Authorization",
     "private_key", "clientSecret", "PGPASSWORD", "Set-Cookie", "jwt", "ssh_key", "x-api-key"],
)  # fmt: skip
def test_a_secret_name_is_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["key", "group_key", "replay_key", "signature", "author", "passed", "number", "monkey",
             "max_tokens", "llm_tokens_per_day", "tokenizer_path", "session", "natural_key", "compass", "pinned"]
)  # fmt: skip
def test_a_harmless_name_stays(name: str) -> None:
    assert not is_secret_name(name)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=8, max_size=40))
def test_an_announced_value_is_removed_in_every_form(secret: str) -> None:
    redactor = Redactor([secret])
    if secret.isspace() or MASK in secret or secret in MASK:
        return
    forms = [secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("=")]
    for form in forms:
        assert form not in redactor.text(f"<{form}>") or form in f"<{MASK}>"


@pytest.mark.parametrize(
    "written",
    [repr(QUOTED), json.dumps({"x": QUOTED}), quote(QUOTED), quote_plus(QUOTED),
     QUOTED.encode().hex(), base64.b64encode(f"ann:{QUOTED}".encode()).decode(),
     base64.b64encode(f"a{QUOTED}".encode()).decode(),
     base64.urlsafe_b64encode(f"?>{QUOTED}!".encode()).decode(), QUOTED.upper(), QUOTED.lower()],
)  # fmt: skip
def test_a_known_value_is_removed_however_it_is_written(written: str) -> None:
    cleaned = Redactor([QUOTED]).text(f"it was {written} here")
    assert MASK in cleaned
    assert written[8:16] not in cleaned


@pytest.mark.parametrize("length", [500, 2_000, 4_000, 64_000])
@pytest.mark.parametrize("shown", range(6, 30, 5))
def test_the_beginning_of_a_known_value_on_which_a_text_was_cut_is_removed(
    length: int, shown: int
) -> None:
    secret = "plain-known-5521-battery-staple"
    cut = "x" * (length - shown) + secret[:shown]
    assert Redactor([secret]).text(cut).endswith(f"x{MASK}")
    said = f"order {secret[:shown]}… (912 characters)"
    assert Redactor([secret]).text(said) == f"order {MASK}… (912 characters)"
    # What was not cut is a word of its own.
    assert Redactor([secret]).text(f"order {secret[:6]}") == f"order {secret[:6]}"


def test_a_secret_is_known_by_what_stands_beside_it() -> None:
    document: Any = {
        "command": ["psql", "--password", f"{SECRET}-1", "-h", "db"],
        "headers": [["b'X-Api-Key' (9 bytes)", "b'x-api-key' (9 bytes)", f"{SECRET}-2"]],
        "key": ["-----BEGIN EC PRIVATE KEY-----", f"{SECRET}-3", "-----END EC PRIVATE KEY-----"],
        "login": {"Authorization": f"Basic {base64.b64encode(b'ann:deep-value-3').decode()}"},
        "decoded": "ann:deep-value-3",
        "lines": ["host: db", "password:", f"{SECRET}-4"],
        "call": ["curl", "-u", f"ann:{SECRET}-5", "https://db.lan"],
        "member": {"<type>": "shop.Keys", "_value_": f"{SECRET}-6", "_name_": "API_TOKEN"},
        "words": ["secret", "agents", "abroad"],
    }
    redactor = Redactor()
    redactor.learn(document)
    cleaned: Any = redactor.value(document)
    assert SECRET not in json.dumps(cleaned)
    assert "deep-value-3" not in json.dumps(cleaned)
    assert cleaned["command"] == ["psql", "--password", MASK, "-h", "db"]
    assert cleaned["words"] == ["secret", "agents", "abroad"]


def test_a_secret_seen_under_its_name_is_removed_elsewhere() -> None:
    document = {
        "locals": {"password": "hunter2-hunter2", "attempt": 1},
        "logs": ["login with hunter2-hunter2 failed"],
        "headers": [["Authorization", "opaque-value-1"], ["Accept", "text/html"]],
        "message": "opaque-value-1 was refused",
        "nested": {"credentials": {"user": "ann-the-user", "deep": ["deep-value-2"]}},
        "again": "deep-value-2",
    }
    redactor = Redactor()
    redactor.learn(document)  # type: ignore[arg-type]  # mypy takes the literal's type as narrower
    text = json.dumps(redactor.value(document))  # type: ignore[arg-type]  # as above
    for secret in ("hunter2", "opaque-value-1", "deep-value-2"):
        assert secret not in text
    assert "text/html" in text
    assert '"attempt": 1' in text


def test_the_environments_secrets_are_removed() -> None:
    redactor = Redactor()
    redactor.protect_environment(
        {
            "MY_TOKEN": "env-secret-1",
            "DATABASE_URL": "postgresql://u:env-secret-2@db/x",
            "HOME": "/root",
        }
    )
    cleaned = redactor.text("env-secret-1 and env-secret-2 in /root")
    assert cleaned == f"{MASK} and {MASK} in /root"


@pytest.mark.parametrize(
    "text",
    ["order 12 failed", "authentication failed for alice", "token expired yesterday", "basic checks passed",
     "no attribute 'password'", "https://example.com/path?page=2", "passed: 12, failed: 0", "a = b"],
)  # fmt: skip
def test_ordinary_text_stays(text: str) -> None:
    assert Redactor().text(text) == text


def test_redacting_twice_changes_nothing() -> None:
    once = [Redactor().text(text) for text in PLANTED]
    assert [Redactor().text(text) for text in once] == once


def test_a_secret_that_is_no_text_is_removed_too() -> None:
    redactor = Redactor()
    redactor.protect_environment({"ODD_TOKEN": "odd-\udcff-secret"})
    assert "secret" not in redactor.text("it was odd-\udcff-secret")


def test_what_is_announced_late_is_removed_from_what_was_seen_before() -> None:
    redactor = Redactor()
    assert redactor.text("opaque value") == "opaque value"
    redactor.protect("opaque value")
    assert redactor.text("opaque value") == MASK
