"""Every door counts the same incidents as open."""

from __future__ import annotations

import pytest

from homeostat.api import views
from homeostat.cli import standing
from homeostat.incidents.failure import Failure, Source
from homeostat.incidents.recognition import report
from homeostat.kernels.voice_conversation import answers
from homeostat.store.database import reading, transaction

pytestmark = pytest.mark.usefixtures("sqlite_store")


def test_what_is_below_its_threshold_is_open_at_no_door() -> None:
    for kind, fail_after in (("OddError", 1), ("RareError", 3)):
        failure = Failure.without_frames(kind, "It is odd.", Source.TASK, f"part.{kind}")
        with transaction() as session:
            report(session, failure, fail_after=fail_after)
    told = standing.open_incidents()
    assert (told["open"], [one["state"] for one in told["newest"]]) == (1, ["open"])
    with reading() as session:
        assert views.open_incidents(session) == 1
        assert answers.what_broke(session).startswith("1 incident is open")
