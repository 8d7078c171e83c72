"""Tracebacks are read as Python prints them, and what is none is refused in a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.incidents import origin
from homeostat.incidents.failure import Failure
from homeostat.incidents.signature import signature_of
from homeostat.incidents.traceback_text import TracebackTextError, parse

PLAIN = """Traceback (most recent call last):
  File "/srv/app/main.py", line 6, in <module>
    run()
  File "/srv/app/shop/orders.py", line 12, in run
    json.loads(text)
    ~~~~~~~~~~^^^^^^
  File "/usr/lib/python3.12/json/decoder.py", line 355, in raw_decode
    raise JSONDecodeError("Expecting value", s, err.value) from None
json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)
"""

NESTED = """  + Exception Group Traceback (most recent call last):
  |   File "/srv/app/main.py", line 6, in <module>
  |     run()
  | ExceptionGroup: outer (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | Exception Group Traceback (most recent call last):
    |   File "/srv/app/shop/orders.py", line 3, in run
    |     raise ExceptionGroup("inner", [ValueError(1)])
    | ExceptionGroup: inner (1 sub-exception)
    +-+---------------- 1 ----------------
      | Traceback (most recent call last):
      |   File "/srv/app/shop/orders.py", line 9, in save
      |     raise ValueError(1)
      | ValueError: 1
      +------------------------------------
    +---------------- 2 ----------------
    | KeyError: 'x'
    +------------------------------------
"""


def frames(text: str) -> list[str]:
    (raised,) = parse(text)
    return [f"{frame.module}:{frame.function}" for frame in raised.frames if frame.in_app]


def test_it_reads_type_message_frames_and_lines() -> None:
    (raised,) = parse(PLAIN)
    assert raised.type == "json.decoder.JSONDecodeError"
    assert raised.message == "Expecting value: line 1 column 1 (char 0)"
    assert frames(PLAIN) == ["main:<module>", "shop.orders:run"]
    assert raised.frames[1].context == "json.loads(text)"
    assert raised.frames[2].module == "json.decoder"


def test_a_chain_begins_with_the_innermost_cause() -> None:
    chain = parse(
        PLAIN
        + "\nThe above exception was the direct cause of the following exception:\n\n"
        + PLAIN.replace("json.decoder.JSONDecodeError: Expecting value", "RuntimeError: cannot")
    )
    assert [raised.type for raised in chain] == ["json.decoder.JSONDecodeError", "RuntimeError"]
    assert chain[0].relation == "was the direct cause of"


def test_of_several_failures_in_a_log_the_newest_is_meant() -> None:
    log = (
        "[2025-11-15 08:29:04,1: ERROR] Task a raised\n" + PLAIN
        + "[2025-11-15 08:29:05,1: ERROR] Task b raised\n"
        + PLAIN.replace("json.decoder.JSONDecodeError: Expecting value", "KeyError: 'b'")
        + "[2025-11-15 08:29:06,1: INFO] next line\n"
    )  # fmt: skip
    (raised,) = parse(log)
    assert raised.type == "KeyError"
    assert "next line" not in raised.message


def test_groups_in_groups_are_read() -> None:
    (raised,) = parse(NESTED)
    assert raised.type == "ExceptionGroup"
    assert raised.message == "outer"
    assert [leaf.type for leaf in raised.leaves()] == ["ValueError", "KeyError"]


def test_windows_paths_and_line_ends_are_read() -> None:
    windows = (
        PLAIN.replace("/srv/app/", "C:\\work\\app\\")
        .replace("/usr/lib/python3.12/", "C:\\Python312\\Lib\\")
        .replace("shop/", "shop\\")
        .replace("\n", "\r\n")
    )
    one, other = (
        signature_of(Failure.from_text(text, source="cli", component="c"))
        for text in (PLAIN, windows)
    )
    assert one.group_key == other.group_key


def test_installed_packages_of_the_application_count_as_its_own() -> None:
    text = PLAIN.replace("/srv/app/shop/", "/venv/lib/python3.12/site-packages/shop/")
    assert [
        frame.module for frame in parse(text, app_packages={"shop"})[0].frames if frame.in_app
    ] == ["main", "shop.orders"]
    assert frames(text) == ["main:<module>"]


def test_a_launcher_and_a_second_root_move_no_module() -> None:
    launched = PLAIN.replace(
        "Traceback (most recent call last):\n",
        'Traceback (most recent call last):\n  File "/usr/local/bin/celery", line 8, in <module>\n'
        '    sys.exit(main())\n  File "/opt/shared/util/retry.py", line 3, in retry\n    go()\n',
    )
    assert frames(launched) == ["retry:retry", "main:<module>", "shop.orders:run"]
    assert frames(launched.replace("/srv/app", "/home/ann/x")) == frames(launched)


@pytest.mark.parametrize(
    ("line", "type_", "message"),
    [
        ("ValueError: no", "ValueError", "no"),
        (
            "celery.exceptions.WorkerLostError: signal 9",
            "celery.exceptions.WorkerLostError",
            "signal 9",
        ),
        ("KeyboardInterrupt", "KeyboardInterrupt", ""),
    ],
)
def test_a_bare_exception_line_is_read(line: str, type_: str, message: str) -> None:
    (raised,) = parse(line)
    assert (raised.type, raised.message) == (type_, message)


@pytest.mark.parametrize(
    "text", ["", "all is well", "INFO: started\nsecond line", "{}", "\x00\xff"]
)
def test_what_is_no_traceback_is_refused(text: str) -> None:
    with pytest.raises(TracebackTextError, match="no Python traceback"):
        parse(text)


@given(st.text(max_size=2_000))
def test_any_text_is_read_or_refused(text: str) -> None:
    for tried in (text, "Traceback (most recent call last):\n" + text, NESTED[:200] + text):
        try:
            signature_of(Failure.from_text(tried, source="cli", component="c"))
        except TracebackTextError:
            continue


@given(st.integers(0, len(NESTED)), st.integers(0, len(PLAIN)))
def test_a_cut_off_traceback_is_read_or_refused(nested: int, plain: int) -> None:
    for tried in (NESTED[:nested], PLAIN[:plain], NESTED[nested:], PLAIN[plain:]):
        try:
            parse(tried)
        except TracebackTextError:
            continue


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("/srv/app/shop/orders.py", True),
        ("/usr/lib/python3/dist-packages/x.py", False),
        ("/root/.pyenv/versions/3.12.1/lib/python3.12/json/__init__.py", False),
        ("/venv/lib/python3.11/site-packages/celery/app/trace.py", False),
        ("C:\\Python312\\Lib\\json\\decoder.py", False),
        ("D:\\work\\shop\\orders.py", True),
        ("<frozen importlib._bootstrap>", False),
        ("<string>", False),
        ("/opt/venv/bin/gunicorn", False),
        ("/srv/bin/shop/orders.py", True),
        ("", False),
        ("/venv/lib/python3.11/site-packages/homeostat/kernels/governance.py", True),
    ],
)
def test_whose_code_it_is(path: str, ours: bool) -> None:  # noqa: FBT001  # a parameter of the test
    assert origin.is_application(path, "") is ours


PRINTED = (
    "Traceback (most recent call last):\n"
    '  File "/srv/shop/orders.py", line 10, in ship\n'
    "    total = price / count\n"
    "ZeroDivisionError: division by zero\n"
)


@pytest.mark.parametrize(
    "text",
    [
        PRINTED.replace("\n", "\r\n"),
        PRINTED.replace("\n", "\r"),
        "\ufeff" + PRINTED,
        "".join(f"    {line}" for line in PRINTED.splitlines(keepends=True)),
        "".join(f"worker-1  | {line}" for line in PRINTED.splitlines(keepends=True)),
        "ERROR shop: " + PRINTED,
        PRINTED.split("\n", 1)[1],
        f"10:00 INFO begins\n{PRINTED.replace('zero', 'one')}10:01 INFO again\n{PRINTED}",
    ],
    ids=["crlf", "cr", "mark", "indented", "prefixed", "labelled", "headless", "log"],
)
def test_a_traceback_is_found_however_it_was_copied(text: str) -> None:
    assert parse(text) == parse(PRINTED)
