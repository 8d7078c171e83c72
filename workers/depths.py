"""How many messages wait on a queue, on Redis and on RabbitMQ."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from amqp.exceptions import NotFound
from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import OperationalError

from homeostat.errors import BrokerUnavailableError
from workers import queues


def waiting(app: Celery, queue: str, priority: int = 0) -> int:
    """Return how many messages wait there that are at least as urgent as business `priority`.

    RabbitMQ does not tell priorities apart, so there it is all that wait. Messages that a worker
    has taken and not yet acknowledged do not count. Raises BrokerUnavailableError.
    """
    return depths(app, [queue], priority)[queue]


def depths(app: Celery, names: Iterable[str], priority: int = 0) -> dict[str, int]:
    """Return how many messages wait on each queue, as `waiting` counts them."""
    connection = app.connection_for_read()
    away: tuple[type[BaseException], ...] = (OperationalError, OSError)
    away += (*connection.connection_errors, *connection.channel_errors)
    size = _in_redis if queues.is_redis(str(app.conf.broker_url)) else _in_rabbitmq
    try:
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        return {name: size(connection, name, priority) for name in names}
    except away as error:
        raise BrokerUnavailableError from error
    finally:
        connection.release()


def _in_redis(connection: Connection, queue: str, priority: int) -> int:
    lists = queues.redis_lists(queue)[: queues.broker_priority(priority, "redis://") + 1]
    channel: Any = connection.default_channel  # the Redis transport's own, which has a client
    with channel.conn_or_acquire() as client:
        return sum(client.llen(name) for name in lists)


def _in_rabbitmq(connection: Connection, queue: str, _priority: int) -> int:
    # A queue that does not exist yet closes the channel it was asked on, so each has its own.
    channel = connection.channel()
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except NotFound:
        return 0
    finally:
        channel.close()
