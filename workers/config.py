"""Celery's settings, derived from Homeostat's."""

from __future__ import annotations

from typing import Any

from kombu.transport import TRANSPORT_ALIASES

from homeostat.settings import Settings
from workers import queues

#: No task may run longer than this, in seconds, whatever its own limits say.
HARD_LIMIT_S = 600
#: Redis hands an unacknowledged message out again after this; it must exceed the hard limit.
VISIBILITY_TIMEOUT_S = 900
#: A half-open connection would otherwise hang a worker for good (measured: 11 s with these).
SOCKET_TIMEOUT_S = 10

# kombu takes a transport by the scheme of the URL. This one looks at every message at the pop.
TRANSPORT_ALIASES.update(
    dict.fromkeys(("redis", "rediss", "valkey"), "workers.sifting:SiftingTransport")
)


def celery_settings(settings: Settings) -> dict[str, Any]:
    """Return the lower-case settings of the Celery app."""
    broker = settings.broker
    return {
        "broker_url": broker,
        "broker_transport_options": _transport_options(broker),
        "broker_heartbeat": 10,
        "broker_connection_timeout": 5,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "task_queues": queues.declared(broker),
        "task_default_queue": queues.UPKEEP,
        "task_create_missing_queues": False,
        "task_routes": (_route,),
        "task_default_priority": queues.broker_priority(queues.DEFAULT_PRIORITY, broker),
        # A control run (recovery off) shows what is lost without these two.
        "task_acks_late": settings.recovery,
        "task_reject_on_worker_lost": settings.recovery,
        "task_time_limit": HARD_LIMIT_S,
        "task_soft_time_limit": HARD_LIMIT_S - 30,
        # Nobody reads results: what a task did stands in the database.
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_track_started": True,
        # Flower needs the workers' events; who sent a task is of no use to it and costs more.
        "worker_send_task_events": True,
        "task_send_sent_event": False,
        "event_queue_expires": 60,
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        "worker_soft_shutdown_timeout": 5.0,
        "worker_consumer": "workers.guard:GuardedConsumer",
        "worker_hijack_root_logger": True,
        "worker_redirect_stdouts": False,
        "worker_proc_alive_timeout": 15.0,
        "beat_scheduler": "workers.beat:HeapScheduler",
        "timezone": "UTC",
        "enable_utc": True,
    }


def _route(name: str, *_args: object, **_kwargs: object) -> dict[str, str]:
    queue = queues.queue_of(name)
    return {"queue": queue, "routing_key": queue}


def _transport_options(broker: str) -> dict[str, Any]:
    if not queues.is_redis(broker):
        return {"confirm_publish": True, "max_retries": 3}
    return {
        "visibility_timeout": VISIBILITY_TIMEOUT_S,
        "priority_steps": list(queues.REDIS_STEPS),
        "queue_order_strategy": "priority",
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": 5,
        "health_check_interval": 10,
        "retry_on_timeout": True,
    }
