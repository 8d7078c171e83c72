"""The seed cases on a copy of the platform's own source."""

from __future__ import annotations

import pytest

from homeostat.repair.drill import seed_drill
from homeostat.repair.sandbox import Isolation, detect_isolation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
    ),
]


def test_both_seeds_are_mended_at_the_api_and_then_from_knowledge() -> None:
    seen = seed_drill()
    assert [item["status"] for item in seen["fixes"]] == ["applied", "applied"]
    assert [item["kind"] for item in seen["fixes"]] == ["dropped_parameter", "dropped_export"]
    assert all(not item["from_knowledge"] for item in seen["fixes"])
    assert all(item["from_knowledge"] for item in seen["repeat"])
    assert seen["call_sites_changed"] == []
    added, restored = (item["diff"] for item in seen["fixes"])
    assert "+            subsystem=subsystem," in added
    assert "+from homeostat.store.base import Base" in restored
    keys = [item["replay_key"] for item in seen["fixes"]]
    assert len(set(keys)) == 2
    assert keys == [item["replay_key"] for item in seen["repeat"]]
