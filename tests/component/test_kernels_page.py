"""docs/kernels.md and the registry say the same."""

from __future__ import annotations

import pytest

from tests.component.test_honesty import KERNELS
from tests.kernels_page import HEARS_ALL, MEASURED, PAGE, boot_table, page, published, without_boot


@pytest.mark.slow
def test_the_page_says_what_the_source_says() -> None:
    assert without_boot(PAGE.read_text("utf-8")) == without_boot(page("")), (
        "write it anew: python -m tests.kernels_page"
    )


def test_the_page_shows_the_boot_of_all_twenty() -> None:
    measured = PAGE.read_text("utf-8").split(MEASURED[0])[1].split(MEASURED[1])[0]
    for kernel in KERNELS:
        row = next(line for line in measured.splitlines() if f"`{kernel[8:]}`" in line)
        assert "| RUNNING |" in row
    assert len(KERNELS) == 20


def test_a_failed_boot_is_shown_as_that() -> None:
    row = {"name": "kernels.x", "tier": 0, "state": "FAILED", "seconds": 1.0, "tries": 3}
    report = {
        "running": 0,
        "total": 1,
        "seconds": 1.0,
        "tiers": [{"tier": 0, "seconds": 1.0}],
        "components": [{**row, "evidence": None, "error": "ProbeFailedError: no"}],
    }
    shown = boot_table(report)
    assert "0 of 1 RUNNING" in shown
    assert "| FAILED | 1.00 | 3 | ProbeFailedError: no |" in shown


@pytest.mark.parametrize("topic", ["health.heartbeat_gap", "beat.missed"])
def test_the_page_knows_who_takes_an_event_up(topic: str) -> None:
    assert published("kernels.health_monitor")[topic] == {"kernels.trigger_mesh", HEARS_ALL}
