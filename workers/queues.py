"""Queues and priorities as Celery's brokers have them; their names stand in `homeostat.dispatch`.

Business priority runs from 10 (critical) to 0 (idle). On RabbitMQ that is the broker's own
order. On the Redis transport 0 is the highest of ten steps and anything above 9 is clamped, so
the scale is turned round there.
"""

from __future__ import annotations

from kombu.entity import Queue

from homeostat.dispatch import (
    CHAOS,
    CHECKS,
    FIX_ANALYSIS,
    INCIDENTS,
    MODELS,
    REDIS_STEPS,
    TRADE,
    UPKEEP,
    queue_of,
    redis_lists,
)
from homeostat.dispatch import QUEUES as ALL_QUEUES

__all__ = [
    "ALL_QUEUES",
    "CHAOS",
    "CHECKS",
    "FIX_ANALYSIS",
    "INCIDENTS",
    "MAIN_QUEUES",
    "MODELS",
    "REDIS_STEPS",
    "TRADE",
    "UPKEEP",
    "queue_of",
    "redis_lists",
]

#: The queues of the main worker; `fix_analysis` has a worker of its own and is never starved.
#: A training is a process of its own, so the main worker only waits for it; where the extra
#: `deep` is installed, its long trainings have a worker of their own too.
MAIN_QUEUES = (CHECKS, TRADE, INCIDENTS, CHAOS, UPKEEP)

HIGHEST_PRIORITY = 10
DEFAULT_PRIORITY = 5


def is_redis(broker_url: str) -> bool:
    """Return whether the broker speaks the Redis protocol."""
    return broker_url.startswith(("redis", "sentinel", "valkey"))


def declared(broker_url: str) -> list[Queue]:
    """Return the queues to declare; RabbitMQ must be told the number of priorities."""
    arguments = {} if is_redis(broker_url) else {"x-max-priority": HIGHEST_PRIORITY}
    return [Queue(name, routing_key=name, queue_arguments=arguments) for name in ALL_QUEUES]


def broker_priority(business: int, broker_url: str) -> int:
    """Return the broker's priority for a business priority of 0 to 10."""
    business = max(0, min(business, HIGHEST_PRIORITY))
    if not is_redis(broker_url):
        return business
    return round((HIGHEST_PRIORITY - business) * REDIS_STEPS[-1] / HIGHEST_PRIORITY)
