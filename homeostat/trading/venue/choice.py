"""Which venue the settings name, and the way to it: one connection per process."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.errors import SettingsError
from homeostat.settings import Settings, VenueName
from homeostat.store.database import transaction
from homeostat.store.redis import client as redis_client
from homeostat.trading.venue.exchange import Exchange
from homeostat.trading.venue.guard import Guard

if TYPE_CHECKING:
    from homeostat.trading.venue.client import Endpoint

_ACTOR = "trading.venue"
_SCHEME = "secret://"
_HERE = {"127.0.0.1", "localhost", "::1"}


class SecretManager(Protocol):
    """What is asked of `kernels.secret_manager`."""

    def resolve(self, session: Session, setting: str, *, actor: str) -> str:
        """Return a setting's value, looked up where it says `secret://name`."""


def guard(settings: Settings) -> Guard:
    """Return the guard of the settings' venue, with the state that all processes share."""
    return Guard(redis_client(), settings.redis, f"venue:{settings.venue}")


def exchange(settings: Settings) -> Exchange:
    """Return this process's connection to the venue of the settings.

    Raises SettingsError where it cannot be used, SecretError where a key cannot be had. It opens
    a transaction to look up the keys, so call it outside of one.
    """
    return _exchange(settings, os.getpid())


@lru_cache(maxsize=2)
def _exchange(settings: Settings, pid: int) -> Exchange:
    # The pid is part of the key: a forked child makes connections of its own.
    del pid
    return Exchange(endpoint(settings), guard(settings))


def prices(settings: Settings) -> Exchange:
    """Return this process's connection to where live prices come from; it needs no key.

    It is the loopback venue where orders go there, and otherwise the real exchange.
    """
    return _prices(settings, os.getpid())


@lru_cache(maxsize=2)
def _prices(settings: Settings, pid: int) -> Exchange:
    del pid
    from homeostat.trading.venue.client import Endpoint

    if settings.venue is VenueName.LOOPBACK:
        return Exchange(endpoint(settings), guard(settings))
    # One address has one limit: the guard is that of the keyed client, if there is one.
    name = VenueName.BINANCE
    return Exchange(Endpoint(), Guard(redis_client(), settings.redis, f"venue:{name}"))


def endpoint(settings: Settings) -> Endpoint:
    """Return where the venue is and who we are there; raises as `exchange` does."""
    from homeostat.trading.venue import loopback
    from homeostat.trading.venue.client import Endpoint

    if settings.venue is VenueName.LOOPBACK:
        if urlsplit(settings.venue_url).hostname not in _HERE:
            raise SettingsError(
                "HOMEOSTAT_VENUE_URL must be the loopback venue's address on this machine; "
                "`homeostat trade venue serve` starts one and prints it."
            )
        return Endpoint(settings.venue_url.rstrip("/"), loopback.KEY, loopback.SECRET)
    if settings.venue is VenueName.BINANCE:
        return Endpoint("", *_keys(settings))
    raise SettingsError("The paper venue has no address; set HOMEOSTAT_VENUE to another.")


def _keys(settings: Settings) -> tuple[str, str]:
    given = [one.get_secret_value() for one in (settings.venue_key, settings.venue_secret)]
    if not all(one.startswith(_SCHEME) for one in given):
        raise SettingsError(
            "HOMEOSTAT_VENUE_KEY and HOMEOSTAT_VENUE_SECRET must each name a secret as "
            "secret://NAME; `homeostat trade venue keys` keeps both and prints the settings."
        )
    manager: SecretManager = registry.find("kernels.secret_manager")  # type: ignore[assignment]  # asked for by its port
    with transaction() as session:
        key, secret = (manager.resolve(session, one, actor=_ACTOR) for one in given)
    return key, secret
