"""A signature fits one task, one id and one set of arguments, until it runs out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from homeostat.errors import UnsignedTaskError
from workers import signing

KEY = b"k" * 64
KWARGS = {"incident_id": "7", "job_id": "9"}


def test_its_own_message_is_accepted() -> None:
    header = signing.sign(KEY, "fix_analysis.analyse", "id-1", KWARGS)

    signing.verify(KEY, "fix_analysis.analyse", "id-1", KWARGS, header)


@pytest.mark.parametrize(
    ("task", "task_id", "kwargs"),
    [
        ("trade.close_all", "id-1", KWARGS),
        ("fix_analysis.analyse", "id-2", KWARGS),
        ("fix_analysis.analyse", "id-1", {**KWARGS, "incident_id": "8"}),
    ],
)
def test_a_swapped_task_id_or_argument_is_refused(
    task: str, task_id: str, kwargs: dict[str, str]
) -> None:
    header = signing.sign(KEY, "fix_analysis.analyse", "id-1", KWARGS)

    with pytest.raises(UnsignedTaskError, match="does not fit"):
        signing.verify(KEY, task, task_id, kwargs, header)


@pytest.mark.parametrize("header", [None, "", {}, {"mac": "x"}, ["mac"]])
def test_a_message_without_a_signature_is_refused(header: object) -> None:
    with pytest.raises(UnsignedTaskError, match="unsigned"):
        signing.verify(KEY, "fix_analysis.analyse", "id-1", KWARGS, header)


def test_an_old_signature_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "VALID_FOR", timedelta(seconds=-1))
    header = signing.sign(KEY, "fix_analysis.analyse", "id-1", KWARGS)

    with pytest.raises(UnsignedTaskError, match="ran out"):
        signing.verify(KEY, "fix_analysis.analyse", "id-1", KWARGS, header)


def test_a_later_expiry_written_into_the_header_is_refused() -> None:
    header = signing.sign(KEY, "fix_analysis.analyse", "id-1", KWARGS)
    header["expires"] = "2999-01-01T00:00:00+00:00"

    with pytest.raises(UnsignedTaskError, match="does not fit"):
        signing.verify(KEY, "fix_analysis.analyse", "id-1", KWARGS, header)
