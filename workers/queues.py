"""Queues, routes and priorities.

Business priority runs from 10 (critical) to 0 (idle). On RabbitMQ that is the broker's own
order. On the Redis transport 0 is the highest of ten steps and anything above 9 is clamped, so
the scale is turned round there.
"""

from __future__ import annotations

from kombu.entity import Queue

CHECKS = "checks"
TRADE = "trade"
INCIDENTS = "incidents"
FIX_ANALYSIS = "fix_analysis"
CHAOS = "chaos"
UPKEEP = "upkeep"
MODELS = "models"

#: The queues of the main worker; `fix_analysis` has a worker of its own and is never starved.
#: A training is a process of its own, so the main worker only waits for it; where the extra
#: `deep` is installed, its long trainings have a worker of their own too.
MAIN_QUEUES = (CHECKS, TRADE, INCIDENTS, CHAOS, UPKEEP)
ALL_QUEUES = (*MAIN_QUEUES, FIX_ANALYSIS, MODELS)

HIGHEST_PRIORITY = 10
DEFAULT_PRIORITY = 5
#: kombu's Redis transport keeps one list per step and reads them in this order.
REDIS_STEPS = tuple(range(10))
_REDIS_SEPARATOR = "\x06\x16"

#: The first part of a task's name decides its queue.
ROUTES = {
    "checks": CHECKS,
    "trade": TRADE,
    "incidents": INCIDENTS,
    "fix_analysis": FIX_ANALYSIS,
    "chaos": CHAOS,
    "stress": CHAOS,
    "boot": UPKEEP,
    "upkeep": UPKEEP,
    "models": MODELS,
}


def is_redis(broker_url: str) -> bool:
    """Return whether the broker speaks the Redis protocol."""
    return broker_url.startswith(("redis", "sentinel", "valkey"))


def declared(broker_url: str) -> list[Queue]:
    """Return the queues to declare; RabbitMQ must be told the number of priorities."""
    arguments = {} if is_redis(broker_url) else {"x-max-priority": HIGHEST_PRIORITY}
    return [Queue(name, routing_key=name, queue_arguments=arguments) for name in ALL_QUEUES]


def queue_of(task: str) -> str:
    """Return the queue that a task of that name goes to."""
    return ROUTES.get(task.split(".", 1)[0], UPKEEP)


def broker_priority(business: int, broker_url: str) -> int:
    """Return the broker's priority for a business priority of 0 to 10."""
    business = max(0, min(business, HIGHEST_PRIORITY))
    if not is_redis(broker_url):
        return business
    return round((HIGHEST_PRIORITY - business) * REDIS_STEPS[-1] / HIGHEST_PRIORITY)


def redis_lists(queue: str) -> list[str]:
    """Return the lists in which kombu's Redis transport keeps a queue, most urgent first."""
    return [f"{queue}{_REDIS_SEPARATOR}{step}" if step else queue for step in REDIS_STEPS]
