"""Failures that come as documents: bundles, Sentry's events, flat records."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.incidents import bundle
from homeostat.incidents.event import EventError, failure_from
from homeostat.incidents.failure import Failure
from homeostat.incidents.signature import signature_of
from homeostat.incidents.traceback_text import TracebackTextError


def caught() -> Failure:
    try:
        json.loads("{")
    except ValueError as error:
        return Failure.from_exception(error, source="task", component="shop", task="shop.ship")
    raise AssertionError


def test_a_bundle_gives_the_keys_of_the_failure_it_was_made_from() -> None:
    failure = caught()
    live = signature_of(failure)
    captured: Any = bundle.capture(failure)
    for document in (captured, {"id": "x", "bundle": captured}):
        read = signature_of(failure_from(json.dumps(document)))
        assert (read.group_key, read.replay_key, read.label) == (
            live.group_key,
            live.replay_key,
            live.label,
        )


def test_an_event_of_sentrys_format_is_read() -> None:
    event = {
        "exception": {
            "values": [
                {
                    "type": "JSONDecodeError",
                    "module": "json.decoder",
                    "value": "Expecting value",
                    "stacktrace": {
                        "frames": [
                            {"module": "shop.orders", "function": "run", "lineno": 12,
                             "abs_path": "/srv/app/shop/orders.py", "in_app": True,
                             "context_line": "    json.loads(text)"},
                            {"module": "json.decoder", "function": "raw_decode", "lineno": 355,
                             "abs_path": "/usr/lib/python3.12/json/decoder.py", "in_app": False},
                        ]
                    },
                },
                {"type": "RuntimeError", "module": "builtins", "value": "cannot read"},
            ]
        }
    }  # fmt: skip
    basis = signature_of(failure_from(json.dumps(event))).basis
    assert basis.type == "json.decoder.JSONDecodeError"
    assert basis.frames == ("shop.orders:run",)
    assert basis.context == "json.loads(text)"


@pytest.mark.parametrize(
    "record",
    [
        {"type": "WorkerLostError", "message": "signal 9", "task": "shop.ship"},
        {"exc_type": "WorkerLostError", "exc_message": "signal 7", "task": "shop.ship"},
        {"traceback": "WorkerLostError: signal 9", "task": "shop.ship"},
    ],
)
def test_a_flat_record_is_read(record: dict[str, str]) -> None:
    signature = signature_of(failure_from(json.dumps(record)))
    assert signature.basis.type == "WorkerLostError"
    assert signature.basis.task == "shop.ship"
    assert signature.basis.template == "signal <NUM>"


@pytest.mark.parametrize(
    "text",
    ["{", "{}", '{"exception": {}}', '{"exception": {"values": [1]}}', '{"exception": [{}]}',
     '{"exception": [null]}', '{"bundle": {"exception": 3}}', '{"failure": []}'],
)  # fmt: skip
def test_a_document_without_an_exception_is_refused(text: str) -> None:
    with pytest.raises(EventError):
        failure_from(text)


_NAMES = st.sampled_from(
    ["bundle", "failure", "exception", "values", "type", "message", "frames", "stacktrace",
     "traceback", "component", "function", "lineno", "in_app", "value", "filename"]
)  # fmt: skip
_DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=5),
    max_leaves=25,
)


@given(_DOCUMENTS)
def test_a_malformed_event_is_a_failure_or_a_sentence(document: Any) -> None:
    with suppress(EventError, TracebackTextError):
        assert signature_of(failure_from(json.dumps(document))).group_key
