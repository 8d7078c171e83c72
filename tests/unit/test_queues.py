"""The domain names queues and their lists as the workers' transport does."""

from __future__ import annotations

import pytest
from kombu.transport import redis as kombu_redis

from homeostat.dispatch import REDIS_SEPARATOR, queue_of, redis_lists


def test_the_lists_of_a_queue_are_named_as_the_transport_names_them() -> None:
    assert kombu_redis.Channel.sep == REDIS_SEPARATOR
    assert redis_lists("checks")[:2] == ["checks", f"checks{REDIS_SEPARATOR}1"]


@pytest.mark.parametrize(
    ("task", "queue"),
    [
        ("checks.kernels.message_bus", "checks"),
        ("fix_analysis.watch", "fix_analysis"),
        ("stress.effect", "chaos"),
        ("boot.all", "upkeep"),
        ("nobody.knows", "upkeep"),
    ],
)
def test_the_first_part_of_a_task_s_name_decides_its_queue(task: str, queue: str) -> None:
    assert queue_of(task) == queue
