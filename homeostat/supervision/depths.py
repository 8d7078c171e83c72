"""The port to how many messages wait on each queue; `workers.app` puts in what asks the broker."""

from __future__ import annotations

from collections.abc import Callable, Mapping

#: Returns the messages that wait, per queue; raises BrokerUnavailableError.
Depths = Callable[[], Mapping[str, int]]


class _Port:
    ask: Depths | None = None


def install(ask: Depths) -> None:
    """Make `ask` the one that this process asks."""
    _Port.ask = ask


def ask() -> Mapping[str, int] | None:
    """Return the messages that wait per queue; None where nothing that asks is installed."""
    return _Port.ask() if _Port.ask is not None else None
