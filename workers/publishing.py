"""Sends batches of ticks over one connection, and knows what of them has arrived.

Beside the messages the broker keeps a mark: the fencing token of the beat that sent last, the
number of its batch, and the moment until which ticks were sent. Messages and mark are written
in one step, so a beat that takes over after a kill, and one whose connection broke in the middle
of a batch, learn from the broker itself what was sent: no tick is lost and none goes twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from celery import Celery
from kombu.connection import Connection
from kombu.entity import Queue
from kombu.exceptions import OperationalError

from homeostat.errors import BrokerUnavailableError, HomeostatError
from workers import queues
from workers.ticks import Message

#: Where the mark stands: a hash on Redis, a queue of length one on RabbitMQ.
MARK = "homeostat.beat"
#: A broker that does not answer for so long is away, in seconds.
ANSWER_TIMEOUT_S = 5

_Result = TypeVar("_Result")

_SEND = """
local held = redis.call('HMGET', KEYS[1], 'token', 'batch')
local token, batch = tonumber(held[1] or 0), tonumber(held[2] or 0)
if tonumber(ARGV[1]) < token then return held[1] end
if tonumber(ARGV[1]) == token and tonumber(ARGV[2]) <= batch then return 'repeated' end
local at = 4
for key = 2, #KEYS do
  local count = tonumber(ARGV[at])
  for first = at + 1, at + count, 1000 do
    redis.call('LPUSH', KEYS[key], unpack(ARGV, first, math.min(first + 999, at + count)))
  end
  at = at + count + 1
end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'batch', ARGV[2], 'until', ARGV[3])
return 'sent'
"""
# Writing the batch's number makes a copy of it that still hangs in a dead connection powerless.
_SETTLE = """
local held = redis.call('HMGET', KEYS[1], 'token', 'batch', 'until')
if tonumber(ARGV[1]) < tonumber(held[1] or 0) then return {held[1]} end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'batch', ARGV[2])
return {held[1] or '0', held[2] or '0', held[3] or ''}
"""


class FencedError(HomeostatError):
    """Another beat has taken over; this one must not send any more."""

    def __init__(self, token: int) -> None:
        """Take the token that the broker has seen, which is greater than ours."""
        super().__init__()
        self.token = token


class Mark(NamedTuple):
    """What the broker knows of the last batch."""

    token: int
    batch: int
    until_us: int | None


class Publisher(Protocol):
    """Sends batches; every method raises BrokerUnavailableError or FencedError."""

    def settle(self, token: int, batch: int) -> Mark:
        """Return the mark, and make this token and batch the newest: older ones are refused."""

    def send(self, token: int, batch: int, until_us: int, messages: Sequence[Message]) -> None:
        """Send the messages and write the mark in one step."""

    def close(self) -> None:
        """Let the connection go."""


def publisher(app: Celery, queue_names: Sequence[str]) -> Publisher:
    """Return the publisher for the broker of the app; it connects at first use."""
    if queues.is_redis(str(app.conf.broker_url)):
        return RedisPublisher(app)
    return AmqpPublisher(app, queue_names)


class _OneConnection:
    """One broker connection that is made at first use and thrown away after any error."""

    def __init__(self, app: Celery, opened: Callable[[Any], None], **options: Any) -> None:
        self._app = app
        self._opened = opened
        self._options = options
        self._connection: Connection | None = None
        self._channel: Any = None

    def do(self, action: Callable[[Any], _Result]) -> _Result:
        """Return what `action` returns for the open channel, or raise BrokerUnavailableError."""
        try:
            if self._channel is None:
                self._open()
            return action(self._channel)
        except self._errors() as error:
            self.close()
            raise BrokerUnavailableError(
                f"The broker did not take a batch of ticks ({error}); they are kept."
            ) from error

    def _open(self) -> None:
        self._connection = self._app.connection_for_write(
            transport_options=self._options, connect_timeout=ANSWER_TIMEOUT_S
        )
        # `connect` would rest two seconds before its second try, and ticks would wait for it.
        self._connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        # Not the default channel: that one connects again by itself, without an end.
        channel = self._connection.channel()
        self._opened(channel)
        self._channel = channel

    def _errors(self) -> tuple[type[BaseException], ...]:
        own: tuple[type[BaseException], ...] = (OperationalError, OSError)
        if self._connection is None:
            return own
        return (*own, *self._connection.connection_errors, *self._connection.channel_errors)

    def close(self) -> None:
        """Let the connection go; a broken one may fail to close, and holds nothing to lose."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            connection.collect(socket_timeout=1)


class RedisPublisher:
    """Sends a batch as one script, which Redis runs whole or not at all."""

    def __init__(self, app: Celery) -> None:
        self._line = _OneConnection(
            app,
            opened=lambda _channel: None,
            socket_timeout=ANSWER_TIMEOUT_S,
            # A repeat inside the client would hide from us that an answer is missing.
            retry_on_timeout=False,
        )

    def settle(self, token: int, batch: int) -> Mark:
        """See `Publisher`."""
        held = self._line.do(lambda channel: _run(channel, _SETTLE, [MARK], [token, batch]))
        if len(held) == 1:
            raise FencedError(int(held[0]))
        return Mark(int(held[0]), int(held[1]), int(held[2]) if held[2] else None)

    def send(self, token: int, batch: int, until_us: int, messages: Sequence[Message]) -> None:
        """See `Publisher`."""

        def send(channel: Any) -> Any:
            lists: dict[str, list[str]] = {}
            for message in messages:
                # kombu keeps one list per priority, and names it so.
                name = channel._q_for_pri(message.queue, message.priority)  # noqa: SLF001  # no public name
                lists.setdefault(name, []).append(message.envelope())
            words: list[Any] = [token, batch, until_us]
            for envelopes in lists.values():
                words += [len(envelopes), *envelopes]
            return _run(channel, _SEND, [MARK, *lists], words)

        answer = self._line.do(send)
        if answer not in {b"sent", b"repeated"}:
            raise FencedError(int(answer))

    def close(self) -> None:
        """See `Publisher`."""
        self._line.close()


def _run(channel: Any, script: str, keys: Sequence[str], words: Sequence[Any]) -> Any:
    with channel.conn_or_acquire() as client:
        return client.eval(script, len(keys), *keys, *words)


class AmqpPublisher:
    """Sends a batch as one transaction; a connection that breaks before its commit undoes it.

    RabbitMQ compares no tokens: here a paused beat is held back by its own clock alone.
    """

    def __init__(self, app: Celery, queue_names: Sequence[str]) -> None:
        self._app = app
        self._queues = queue_names
        self._line = _OneConnection(
            app,
            opened=self._declare,
            confirm_publish=False,
            read_timeout=ANSWER_TIMEOUT_S,
            write_timeout=ANSWER_TIMEOUT_S,
        )

    def _declare(self, channel: Any) -> None:
        for name in self._queues:
            self._app.amqp.queues[name](channel).declare()
        Queue(MARK, durable=True, max_length=1)(channel).declare()
        channel.tx_select()

    def settle(self, token: int, batch: int) -> Mark:
        """See `Publisher`."""

        def read(channel: Any) -> Mark | None:
            found = channel.basic_get(MARK)
            if found is None:
                return None
            channel.basic_reject(found.delivery_tag, requeue=True)
            channel.tx_commit()
            return Mark(**json.loads(found.body))

        mark = self._line.do(read) or Mark(0, 0, None)
        if mark.token > token:
            raise FencedError(mark.token)
        del batch
        return mark

    def send(self, token: int, batch: int, until_us: int, messages: Sequence[Message]) -> None:
        """See `Publisher`."""
        mark = Mark(token, batch, until_us)._asdict()

        def publish(channel: Any) -> None:
            for message in messages:
                prepared = channel.prepare_message(
                    message.body,
                    message.priority,
                    "application/json",
                    "utf-8",
                    message.headers,
                    {"correlation_id": message.task_id, "reply_to": "", "delivery_mode": 2},
                )
                channel.basic_publish(prepared, exchange="", routing_key=message.queue)
            stamp = channel.prepare_message(
                json.dumps(mark), 0, "application/json", "utf-8", {}, {"delivery_mode": 2}
            )
            channel.basic_publish(stamp, exchange="", routing_key=MARK)
            channel.tx_commit()

        self._line.do(publish)

    def close(self) -> None:
        """See `Publisher`."""
        self._line.close()
