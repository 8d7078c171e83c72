"""Which default comes back, and when the evidence for it is enough to do without a person."""

from __future__ import annotations

from pathlib import Path

import pytest

from homeostat.repair.agent import Options, Status, fix
from homeostat.repair.sandbox import Isolation, detect_isolation
from tests.component.repair.conftest import begin, write

pytestmark = pytest.mark.skipif(
    detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
)

MISSING = "_MISSING = object()\n\n\n"
FIRST = "def first(items, default):\n    {body}\n    return items[0] if items else default\n"
USE = "from shop import first\nassert first([1]) == 1\n"
#: name → (the source, its user, the default that comes back, whether a person is asked)
CASES: dict[str, tuple[str, str, str, Status]] = {
    "a mark for what was not given": (
        MISSING + FIRST.format(body="assert items or default is not _MISSING"),
        USE, "default=_MISSING", Status.PROPOSED,
    ),
    "such a mark beside None, which is a value then": (
        MISSING + FIRST.format(body="assert items or default is None or default is _MISSING"),
        USE, "default=_MISSING", Status.PROPOSED,
    ),
    "such a mark that others import, and so may give": (
        MISSING + FIRST.format(body="assert items or default is not _MISSING"),
        "from shop import _MISSING\n" + USE, "default=_MISSING", Status.WAITING,
    ),
    "a state, which is no such mark": (
        "CLOSED = object()\n\n\n" + FIRST.format(body="assert items or default is CLOSED"),
        USE, "default=CLOSED", Status.WAITING,
    ),
    "None against the word of the docstring": (
        'def wait(seconds: float | None) -> float:\n    """Wait.\n\n    :param seconds: how long, defaults to 5.0.\n    """\n    return seconds or 1.0\n',
        "from shop import wait\nassert wait() > 0\n", "seconds: float | None = None", Status.WAITING,
    ),
    "None where the docstring names no value": (
        'def wait(seconds: float | None) -> float:\n    """Wait.\n\n    :param seconds: how long, defaults to the usual.\n    """\n    return seconds or 1.0\n',
        "from shop import wait\nassert wait() > 0\n", "seconds: float | None = None", Status.PROPOSED,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_default_comes_back_by_its_evidence(name: str, tmp_path: Path) -> None:
    source, user, default, status = CASES[name]
    write(tmp_path, {"shop.py": source, "user.py": user})
    begin(tmp_path)
    outcome = fix(tmp_path, "python user.py", Options())
    assert outcome.chosen is not None, [item.proof.refusal for item in outcome.refused]
    assert default in outcome.chosen.diff
    assert outcome.status is status
